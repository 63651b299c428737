// Ends of a server: the place from which it is stopped, and the number of stops at once.
import Glibc
import NetAPI
import TestSupport

enum Ending: CaseIterable, Sendable {
    case stop, awaitedStops, requests, order, cancel, timer, timerThrow, offload, mixed

    /// The callback that stops its server, or that throws.
    enum Place: Int, CaseIterable, Sendable {
        case tick = 1, tickThrow, open, traffic, trafficStop, datagram
    }

    enum InBoot: CaseIterable, Sendable { case throwing, shutdown, request, stopping }
}

/// A server from its start to its end.
final class Servant: Sendable {
    enum Life: CaseIterable, Sendable { case start, run, awaitedRun }

    let round: Round
    let books: Books
    let server: Server
    let life: Life
    let isStarted = Latch()
    let hasFailed = Latch()
    let isEnded = Latch()
    private let isEntered = Latch()
    private let task = Shared<Task<Void, Never>?>(nil)

    init(_ round: Round, _ books: Books, _ server: Server, _ life: Life) {
        (self.round, self.books, self.server, self.life) = (round, books, server, life)
    }

    var name: String { books.name }
    /// Whether the server is serving or will never serve.
    var isSettled: Bool { isStarted.isSet || hasFailed.isSet || !server.boundAddresses.isEmpty }

    /// Starts or runs the server. Called on a thread of its own.
    func live() {
        switch life {
        case .start:
            do {
                try round.watch.during("\(name): start()") { try server.start() }
                isStarted.set()
            } catch {
                note(error)
            }
        case .run:
            isEntered.set()
            do {
                _ = try round.watch.during("\(name): run()") { try server.run() }
                isStarted.set()
            } catch {
                note(error)
            }
            isEnded.set()
        case .awaitedRun:
            let running = Task.detached { [self] in
                do {
                    _ = try await round.watch.during("\(name): await run()") {
                        try await server.run()
                    }
                    isStarted.set()
                } catch {
                    note(error)
                }
                isEnded.set()
            }
            isEntered.set()
            task.update { $0 = running }
        }
    }

    private func note(_ error: any Error) {
        hasFailed.set()
        round.ledger.count("starts that failed")
        // A start may fail with an order to fail, or with a stop at the same time.
        if books.bootOrder == nil, !round.stopsEarly {
            round.ledger.violation("\(name): \(error)")
        }
    }

    /// Stops the server in a random way, and then by `stop` in any case.
    func end(_ dice: inout Dice) {
        let ending = life == .awaitedRun && dice.one(in: 2) ? .cancel : dice.pick(Ending.allCases)
        round.ledger.count("ended by \(ending)")
        round.cutUnixTalks()
        let begin = now()
        let mustEnd = ending == .cancel || (ending == .requests && isEntered.isSet)
        ask(ending, &dice)
        if life != .start, mustEnd {
            // One request is enough, whether the server was starting or running.
            while !isEnded.isSet, now() - begin < 15_000 { sleep(milliseconds: 5) }
            if !isEnded.isSet, !hasFailed.isSet {
                round.ledger.violation("\(name): run() goes on 15 s after its end by \(ending)")
            }
        }
        stopForGood(dice.within(0...500))
    }

    private func ask(_ ending: Ending, _ dice: inout Dice) {
        let limit = Duration.milliseconds(dice.pick([0, 20, 200, 1000]))
        switch ending {
        case .stop: stop(limit)
        case .awaitedStops: for _ in 0..<dice.within(1...4) { awaitStop(limit) }
        case .requests:
            let threads = (0..<dice.within(1...3)).map { _ in
                ownThread { [server] in server.requestStop(within: limit) }
            }
            threads.forEach { $0.join() }
        case .order:
            books.order.raise(to: dice.pick(Ending.Place.allCases).rawValue)
            sleep(milliseconds: dice.within(0...300))
        case .cancel:
            guard life == .awaitedRun else { return server.requestStop() }
            var running: Task<Void, Never>?
            while running == nil { running = task.update { $0 } }
            running?.cancel()
        case .timer, .timerThrow:
            server.forEachConnection { connection in
                connection.loop.schedule(after: .milliseconds(2)) {
                    if ending == .timerThrow { throw Refusal() }
                    connection.server.requestStop()
                }
            }
            sleep(milliseconds: 50)
        case .offload:
            server.forEachConnection { connection in
                let server = connection.server
                connection.offload({ server.requestStop() }, then: { _, _ in })
            }
            sleep(milliseconds: 50)
        case .mixed:
            awaitStop(limit)
            server.requestStop(within: limit)
            awaitStop(.zero)
        }
    }

    private func stop(_ limit: Duration) {
        round.watch.during("\(name): stop()") { server.stop(within: limit) }
    }

    private func awaitStop(_ limit: Duration) {
        let surelyRuns = isSettled && books.bootOrder == nil
        guard surelyRuns || !round.without(.stopBesideFailingStart) else { return }
        round.task { [self] in
            await round.watch.during("\(name): await stop()") {
                await server.stop(within: limit)
            }
        }
    }

    /// Stops the server from several tasks while its start is about to fail.
    func stopBesideStart(_ dice: inout Dice) {
        for _ in 0..<20 {
            usleep(UInt32(dice.below(150)))
            awaitStop(.zero)
        }
    }

    /// Stops the server until it has ended or will never run.
    private func stopForGood(_ milliseconds: Int) {
        round.watch.during("\(name): stop() until it has ended") {
            while !isStarted.isSet, !hasFailed.isSet, !isEnded.isSet {
                server.requestStop(within: .milliseconds(milliseconds))
                sleep(milliseconds: 2)
            }
        }
        stop(.milliseconds(milliseconds))
        round.watch.during("\(name): the end of run()") {
            while life != .start, !isEnded.isSet { sleep(milliseconds: 2) }
        }
    }
}

/// A handler for each loop, which may keep the loop of its `onBoot`.
final class Keeper: EventHandler, DatagramHandler {
    private let actor: Actor
    private let keeps: Bool
    private var loop: Loop?

    init(_ actor: Actor, keeps: Bool) {
        self.actor = actor
        self.keeps = keeps
    }

    func onBoot(_ loop: Loop) throws -> Action {
        if keeps { self.loop = loop }
        return try actor.onBoot(loop)
    }
    func onTick(_ loop: Loop) throws -> Tick { try actor.onTick(loop) }
    func onShutdown(_ server: Server) { actor.onShutdown(server) }
    func onOpen(_ connection: Connection) throws -> Action { try actor.onOpen(connection) }
    func onTraffic(_ connection: Connection) throws -> Action { try actor.onTraffic(connection) }
    func onWritable(_ connection: Connection) throws -> Action { try actor.onWritable(connection) }
    func onHalfClose(_ connection: Connection) throws -> Action {
        try actor.onHalfClose(connection)
    }
    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        actor.onClose(connection, reason)
    }
    func onDatagram(_ datagram: Datagram) throws -> Action { try actor.onDatagram(datagram) }
}
