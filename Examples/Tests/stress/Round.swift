// One round: servers and clients from start to end, with all activities at once, and then the check
// of the accounts.
import Glibc
import NetAPI
import TestSupport

/// The settings of the whole program.
struct Settings: Sendable {
    /// The parts that a run can leave out, to get past a known fault.
    enum Part: String, CaseIterable, Sendable {
        case bootStop = "boot-stop"
        case earlyStop = "early-stop"
        case connectBesideStop = "connect-beside-stop"
        case stopBesideFailingStart = "stop-beside-failing-start"
        case keptLoops = "kept-loops"
        case handingOut = "handing-out"
    }

    let backend: Backend
    let without: Set<Part>
    let folder: String
    let baseDescriptors: Int
    let onlyPatient: Bool
}

/// A client with its handler.
struct Caller: Sendable {
    let actor: Actor
    let books: Books
    let client: Client
    let isStarted = Latch()
    /// Set before its first stop, which may come before its start on a busy machine.
    let isStopping = Latch()
}

final class Round: Sendable {
    let seed: UInt64
    let settings: Settings
    let ledger: Ledger
    let watch: Watch
    /// Whether no server is stopped before the calm conversations are over.
    let isPatient: Bool
    /// Whether stops may come before the start is over.
    let stopsEarly: Bool
    let talks = Shared<[Talk]>([])
    let servants = Shared<[Servant]>([])
    let callers = Shared<[Caller]>([])
    let promises = Shared<[Promise]>([])
    let ticks = Shared(Dice(0))
    /// Set when no more conversations begin.
    let isQuiet = Latch()
    /// Set when the first stop begins.
    let isEnding = Latch()
    /// Set when all servers have ended.
    let isOver = Latch()
    private let tasks = Counter()

    init(_ seed: UInt64, _ settings: Settings, _ ledger: Ledger, _ watch: Watch) {
        (self.seed, self.settings, self.ledger, self.watch) = (seed, settings, ledger, watch)
        var dice = Dice(seed &+ 0xABCD)
        isPatient = settings.onlyPatient || dice.one(in: 2)
        stopsEarly = !isPatient && !settings.without.contains(.earlyStop) && dice.one(in: 2)
        ticks.update { $0 = Dice(seed &+ 1) }
    }

    func without(_ part: Settings.Part) -> Bool { settings.without.contains(part) }

    func talk(_ number: Int) -> Talk? {
        talks.update { number < $0.count ? $0[number] : nil }
    }

    func promise(_ kind: Promise.Kind, _ talk: Talk) -> Promise {
        let promise = Promise(kind, "talk \(talk.number)")
        promises.update { $0.append(promise) }
        ledger.count("promises: \(kind)")
        return promise
    }

    @discardableResult
    func task(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        tasks.add()
        return Task.detached { [self] in
            await body()
            tasks.add(-1)
        }
    }

    // MARK: From start to end

    func run() {
        var dice = Dice(seed)
        let places = 0..<dice.within(1...3)
        let made = places.compactMap { makeServer($0, &dice) }
        servants.update { $0 = made }
        let clients = (0..<dice.within(1...2)).compactMap { makeClient($0, &dice) }
        callers.update { $0 = clients }
        let length = dice.within(100...1200)

        var threads = made.map { servant in ownThread { servant.live() } }
        threads += clients.map { caller in ownThread { [self] in start(caller) } }
        var endings: [TestThread] = []
        if stopsEarly {
            let milliseconds = dice.pick([1, 2, 20])
            endings = made.map { ending($0, Dice(dice.next()), within: milliseconds) }
        }
        for servant in made where servant.books.bootOrder != nil {
            guard !without(.stopBesideFailingStart) else { break }
            let seed = dice.next()
            threads.append(
                ownThread {
                    var dice = Dice(seed)
                    servant.stopBesideStart(&dice)
                })
        }
        watch.during("starting") {
            while !made.allSatisfy({ $0.isSettled || $0.isEnded.isSet }) { sleep(milliseconds: 1) }
            while isPatient, !clients.allSatisfy(\.isStarted.isSet) { sleep(milliseconds: 1) }
        }
        threads += talkers(&dice)
        if !isPatient, !stopsEarly {
            endings = made.map { ending($0, Dice(dice.next()), within: length) }
        }
        if dice.one(in: 3), !without(.handingOut) { handOut(&dice) }
        sleep(milliseconds: length)
        if !isPatient, !without(.connectBesideStop) {
            threads += clients.flatMap { caller in
                (0..<2).map { _ in ownThread { [self] in connectInVain(caller) } }
            }
            stop(clients, &dice)
        }
        isQuiet.set()
        if isPatient { awaitCalmTalks() }
        let others = servants.update { $0.dropFirst(isPatient ? 0 : made.count) }
        endings += others.map { ending($0, Dice(dice.next()), within: 100) }
        watch.during("all servers' ends") { endings.forEach { $0.join() } }
        isOver.set()
        stop(clients, &dice)
        watch.during("the ends of all threads") { threads.forEach { $0.join() } }
        settle()
    }

    private func start(_ caller: Caller) {
        do {
            try watch.during("\(caller.books.name): start()") { try caller.client.start() }
            caller.isStarted.set()
        } catch {
            if caller.isStopping.isSet { return }
            ledger.violation("\(caller.books.name): \(error)")
        }
    }

    private func ending(_ servant: Servant, _ dice: Dice, within milliseconds: Int) -> TestThread {
        ownThread {
            var dice = dice
            usleep(UInt32(dice.below(milliseconds * 1000)))
            servant.end(&dice)
        }
    }

    /// Connects while the client stops. Each `done` must be called even then.
    private func connectInVain(_ caller: Caller) {
        let talk = Talk(number: -1, key: 0, Talk.Shape())
        let end = now() + 100
        while now() < end {
            for _ in 0..<8 {
                let (promise, capture) = (promise(.connect, talk), Alive(.capture))
                caller.client.connect(to: "unix://@stress-nobody") { _ in
                    _ = capture
                    promise.tell()
                }
            }
            usleep(100)
        }
    }

    /// Marks open conversations over Unix sockets as cut. At its limit, a stop resets peers that
    /// still send, and a Unix socket reports this like an end. The same holds for conversations
    /// that begin during a stop.
    func cutUnixTalks() {
        isEnding.set()
        for talk in talks.update({ $0 }) where talk.shape.isUnix && !talk.isOver.isSet {
            talk.isCut.set()
        }
    }

    private func stop(_ clients: [Caller], _ dice: inout Dice) {
        cutUnixTalks()
        for caller in clients {
            caller.isStopping.set()
            let limit = Duration.milliseconds(dice.within(0...500))
            if dice.one(in: 2) {
                task { [watch] in
                    await watch.during("\(caller.books.name): await stop()") {
                        await caller.client.stop(within: limit)
                    }
                }
            }
            watch.during("\(caller.books.name): stop()") { caller.client.stop(within: limit) }
        }
    }

    /// Waits for the calm conversations, which must complete by themselves.
    private func awaitCalmTalks() {
        let deadline = now() + 20_000
        while now() < deadline {
            let open = talks.update { $0 }.contains { $0.shape.isCalm && !$0.isComplete.isSet }
            if !open { return }
            sleep(milliseconds: 2)
        }
    }

    // MARK: Accounts

    private func settle() {
        let deadline = now() + 10_000
        while tasks.current > 0, now() < deadline { sleep(milliseconds: 1) }
        if tasks.current > 0 { ledger.violation("\(tasks.current) tasks do not end") }
        let all = servants.update { $0 }
        for servant in all {
            check(servant.books, isWhole: servant.isStarted.isSet && !servant.hasFailed.isSet)
            check(servant.server.statistics, servant.name)
        }
        for caller in callers.update({ $0 }) {
            check(caller.books, isWhole: true)
            check(caller.client.statistics, caller.books.name)
        }
        for promise in promises.update({ $0 }) where !promise.isKept {
            ledger.violation(
                "\(promise.kind) was told \(promise.times) times: \(promise.context)")
        }
        for talk in talks.update({ $0 }) {
            ledger.count("talks")
            talk.faults().forEach { ledger.violation($0) }
            if talk.shape.isCalm, !talk.isComplete.isSet {
                ledger.violation("not completed: \(talk.summary)")
            }
        }
    }

    private func check(_ books: Books, isWhole: Bool) {
        let (opened, closed) = (books.opened.current, books.closed.current)
        if opened != closed {
            ledger.violation("\(books.name): \(opened) onOpen, \(closed) onClose")
        }
        let (boots, shutdowns) = (books.boots.current, books.shutdowns.current)
        if isWhole ? shutdowns != boots : shutdowns > boots {
            ledger.violation("\(books.name): \(boots) onBoot, \(shutdowns) onShutdown")
        }
    }

    private func check(_ statistics: Statistics, _ name: String) {
        if statistics.open != 0 { ledger.violation("\(name): \(statistics.open) open at the end") }
        if statistics.failedLoops != 0 { ledger.violation("\(name): a loop has failed") }
        ledger.count("accepted", statistics.accepted)
        ledger.count("stale completions", statistics.staleCompletions)
        ledger.count("timeouts", statistics.timeouts)
        ledger.count("offload refusals", statistics.offloadRefusals)
    }

    /// Releases all objects of the round, after which none may be left.
    func release() {
        servants.update { $0 = [] }
        callers.update { $0 = [] }
        promises.update { $0 = [] }
        talks.update { $0 = [] }
    }
}
