import MillraceSimulation
import NetAPI

/// A handler that does, by its seed, everything that handlers do. It echoes at once or in parts,
/// pauses, replies and closes, throws, aborts, and writes more than it should.
final class SeedHandler: EventHandler {
    enum Habit: CaseIterable {
        case echo
        case partialEcho
        case pausingEcho
        case greetThenEcho
        case replyAndClose
        case closeByCall
        case throwing
        case aborting
        case halfClosing
        case flooding
        case offloading
        case piping
        case task
    }

    struct Refusal: Error {}

    var random: SeededRandom
    let ledger: Ledger
    private let habits: [Habit]
    /// Serves the connections with tasks.
    private(set) lazy var tasks = makeTasks()
    private let habit = PerConnection<Habit?>(nil)
    private let account = PerConnection<Account?>(nil)
    /// A connection that waits for another one to be piped to.
    private var unpaired: Connection?

    init(seed: UInt64, ledger: Ledger, habits: [Habit]) {
        random = SeededRandom(seed: seed)
        self.ledger = ledger
        self.habits = habits
    }

    func onBoot(_ loop: Loop) -> Action {
        ledger.boots += 1
        return .none
    }

    func onShutdown(_ server: Server) {
        ledger.shutdowns += 1
    }

    func onOpen(_ connection: Connection) -> Action {
        let account = ledger.open(port: connection.remoteAddress.port)
        connection[self.account] = account
        account.opens += 1
        let habit = random.pick(habits)
        connection[self.habit] = habit
        let taking: [Habit] = [.echo, .pausingEcho, .greetThenEcho, .offloading, .task]
        account.takesEverything = taking.contains(habit)
        switch habit {
        case .greetThenEcho: write(connection, some(random.below(40_000)))
        case .flooding: write(connection, some(200_000))
        case .piping: pair(connection)
        case .task: return tasks.onOpen(connection)
        default: break
        }
        return .none
    }

    func onWritable(_ connection: Connection) -> Action {
        connection[habit] == .task ? tasks.onWritable(connection) : .none
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        let account = account(connection)
        if account.opens != 1 || account.closes != 0 {
            account.mistakes.append("traffic when not open")
        }
        promise(connection)
        switch connection[habit] {
        case nil: account.mistakes.append("its variable was lost")
        case .task: return tasks.onTraffic(connection)
        case .echo, .greetThenEcho, .flooding: echo(connection, connection.buffered)
        case .partialEcho: echoPart(connection)
        case .offloading: answerLater(connection)
        // Input of a pipe's target, which is not piped on.
        case .piping: connection.discardAll()
        case .pausingEcho:
            echo(connection, connection.buffered)
            pause(connection)
        case .replyAndClose:
            let isEnough = connection.buffered >= 100
            if isEnough {
                write(connection, some(random.below(60_000)))
                return .close
            }
        case .closeByCall:
            echo(connection, connection.buffered)
            if random.happens(200) { connection.close() }
        case .throwing:
            echo(connection, connection.buffered)
            if random.happens(200) { throw Refusal() }
        case .aborting:
            echo(connection, connection.buffered)
            if random.happens(200) {
                account.isAborted = true
                connection.abort()
            }
        case .halfClosing:
            echo(connection, connection.buffered)
            if random.happens(200) {
                connection.shutdownWrite()
                account.hasEnded = true
            }
        }
        return .none
    }

    func onHalfClose(_ connection: Connection) -> Action {
        let account = account(connection)
        if account.closes != 0 { account.mistakes.append("half-close after close") }
        // A reply would be mixed with the bytes of the pipe.
        if account.isPiped { return .none }
        if connection[habit] == .task { return tasks.onHalfClose(connection) }
        write(connection, [1, 2, 3])
        return random.happens(700) ? .close : .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        let account = account(connection)
        account.closes += 1
        account.reason = reason
        if connection[habit] == .task { _ = tasks.onClose(connection, reason) }
        if connection.isOpen { account.mistakes.append("open in onClose") }
        connection.write("never")
        return .none
    }

    // MARK: Actions

    func account(_ connection: Connection) -> Account {
        guard let account = connection[account] else {
            preconditionFailure("a connection without the variable that onOpen set")
        }
        return account
    }

    private func write(_ connection: Connection, _ bytes: [UInt8]) {
        note(bytes, account(connection), connection)
        connection.write(bytes)
    }

    /// Called before the write: a large piece may be at the peer when the write returns. After a
    /// close or `shutdownWrite` a write is dropped, and no bytes may be expected.
    private func note(_ bytes: [UInt8], _ account: Account, _ connection: Connection) {
        if connection.isOpen && !account.hasEnded { account.written += bytes }
    }

    func some(_ count: Int) -> [UInt8] {
        Array(PeerPattern.bytes(random.below(5), count: count))
    }

    private func echo(_ connection: Connection, _ count: Int) {
        guard let bytes = connection.next(count) else { return }
        let copy = Array(copying: bytes)
        noteTaken(copy, account(connection))
        note(copy, account(connection), connection)
        connection.write(bytes)
    }

    private func answerLater(_ connection: Connection) {
        let bytes = connection.readArray()
        noteTaken(bytes, account(connection))
        connection.offload {
            bytes
        } then: { [self] connection, bytes in
            write(connection, bytes)
        }
    }

    func noteTaken(_ copy: [UInt8], _ account: Account) {
        if let peer = account.peer,
            !copy.withUnsafeBytes({ PeerPattern.matches($0, peer, at: account.taken) })
        {
            account.mistakes.append("not what was sent, from byte \(account.taken) on")
        }
        account.taken += copy.count
    }

    /// Writes from outside the loop, after all bytes written by then.
    private func promise(_ connection: Connection) {
        guard random.happens(100) else { return }
        let account = account(connection)
        account.promises += 1
        connection.handle.write([UInt8]()) { _ in account.tellings += 1 }
    }

    // MARK: Pipes

    /// Joins every second connection to the one before it, in one direction or in both.
    private func pair(_ connection: Connection) {
        account(connection).isPiped = true
        guard let other = unpaired, other.isOpen else {
            unpaired = connection
            return connection.pauseReading()
        }
        unpaired = nil
        join(other, to: connection)
        if random.happens(500) { join(connection, to: other) }
        other.resumeReading()
    }

    private func join(_ source: Connection, to target: Connection) {
        let (from, to) = (account(source), account(target))
        guard let peer = from.peer else { return }
        to.source = from
        to.written += PeerPattern.bytes(peer, count: ledger.peers[peer].total)
        source.pipe(to: target)
    }

    private func echoPart(_ connection: Connection) {
        echo(connection, random.below(connection.buffered + 1))
        guard connection.buffered > 0 else { return }
        // No other event would call the handler for the remaining bytes.
        let handle = connection.handle
        if random.happens(500) {
            handle.wake()
        } else {
            connection.schedule(after: .microseconds(random.below(5_000))) { _ in handle.wake() }
        }
    }

    private func pause(_ connection: Connection) {
        guard random.happens(400) else { return }
        connection.pauseReading()
        connection.schedule(after: .microseconds(random.below(30_000))) { connection in
            connection.resumeReading()
        }
    }
}
