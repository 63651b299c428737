// The sources of conversations during a round: plain sockets, the library's clients in all of their
// forms, and loops.
import Glibc
import NetAPI
import TestSupport

extension Round {
    func talkers(_ dice: inout Dice) -> [TestThread] {
        var threads = (0..<4).map { _ in
            let seed = dice.next()
            return ownThread { [self] in talkRaw(Dice(seed)) }
        }
        for _ in 0..<2 {
            let seed = dice.next()
            threads.append(ownThread { [self] in talkByLibrary(Dice(seed)) })
        }
        let seed = dice.next()
        threads.append(ownThread { [self] in sendLetters(Dice(seed)) })
        return threads
    }

    private func talkRaw(_ dice: Dice) {
        var dice = dice
        while !isQuiet.isSet {
            guard let talk = makeTalk(&dice, isRaw: true), let first = talk.shape.route.first,
                let descriptor = rawConnect(to: first)
            else {
                if let last = talks.update({ $0.last }), isPatient, last.shape.isCalm {
                    last.note("raw: nobody answers")
                }
                sleep(milliseconds: 2)
                continue
            }
            var raw = RawCaller(self, talk, on: descriptor)
            raw.run()
        }
    }

    private func talkByLibrary(_ dice: Dice) {
        var dice = dice
        while !isQuiet.isSet {
            let unfinished = talks.update { talks in
                talks.suffix(400).count { !$0.isOver.isSet }
            }
            guard unfinished < 60, let caller = callers.update({ $0.randomElement() }) else {
                sleep(milliseconds: 2)
                continue
            }
            for _ in 0..<dice.pick([1, 1, 1, 20]) { talk(by: caller, &dice) }
        }
    }

    private func talk(by caller: Caller, _ dice: inout Dice) {
        if dice.one(in: 8) { return adopt(caller, &dice) }
        guard let talk = makeTalk(&dice, isRaw: false) else { return sleep(milliseconds: 2) }
        if dice.one(in: 2) {
            let (promise, capture) = (promise(.connect, talk), Alive(.capture))
            caller.client.connect(to: talk.shape.route[0], timeout: .seconds(5)) { result in
                _ = capture
                promise.tell()
                switch result {
                case .success(let connection): caller.actor.take(connection, as: talk)
                case .failure(let error): talk.hasNotBegun(error)
                }
            }
            return
        }
        let promise = promise(.awaitedConnect, talk)
        let connecting = task {
            do {
                let handle = try await caller.client.connect(
                    to: talk.shape.route[0], timeout: .seconds(5))
                promise.tell()
                try await handle.run { connection in
                    caller.actor.takeLate(connection, as: talk)
                }
            } catch {
                if promise.times == 0 { promise.tell() }
                talk.hasNotBegun(error)
            }
        }
        if dice.one(in: 6), !talk.shape.isCalm { connecting.cancel() }
    }

    /// Makes a pair of sockets: the client adopts one end, and a raw caller uses the other.
    private func adopt(_ caller: Caller, _ dice: inout Dice) {
        var pair: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        guard let talk = makeTalk(&dice, isRaw: true, route: ["unix://@adopted"]),
            socketpair(AF_UNIX, type, 0, &pair) == 0
        else { return }
        let promise = promise(.adopt, talk)
        caller.client.adopt(pair[0]) { _ in promise.tell() }
        _ = fcntl(pair[1], F_SETFL, fcntl(pair[1], F_GETFL) | O_NONBLOCK)
        var raw = RawCaller(self, talk, on: pair[1])
        raw.run()
    }

    /// Uses the calls of a loop and may begin a conversation. Called in a handler's tick.
    func turn(of actor: Actor, on loop: Loop) {
        guard !isQuiet.isSet else { return }
        var dice = ticks.update { dice in Dice(dice.next()) }
        let capture = Alive(.capture)
        loop.schedule(every: .milliseconds(1)) { _ = capture }.cancel()
        loop.handle.execute { loop in
            _ = capture
            if loop.index < 0 { actor.fault("a loop without a place") }
        }
        if dice.one(in: 4) {
            loop.server.forEachConnection { connection in
                _ = capture
                if !connection.isOpen { actor.fault("forEachConnection showed a closed one") }
            }
        }
        if dice.one(in: 4) {
            for connection in loop.connections where connection.buffered < 0 {
                actor.fault("a negative count")
            }
        }
        guard dice.one(in: 2), let talk = makeTalk(&dice, isRaw: false) else { return }
        let promise = promise(.connect, talk)
        loop.connect(to: talk.shape.route[0], timeout: .seconds(5)) { result in
            _ = capture
            promise.tell()
            switch result {
            case .success(let connection): actor.take(connection, as: talk)
            case .failure(let error): talk.hasNotBegun(error)
            }
        }
    }

    /// Sends datagrams from a plain socket. A reply may be lost, but it must be right.
    private func sendLetters(_ dice: Dice) {
        var dice = dice
        let descriptor = socket(
            AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var (sent, received) = (0, 0)
        while !isQuiet.isSet {
            let ports = servants.update { $0 }.flatMap(\.server.boundAddresses)
                .filter { $0.description.hasPrefix("udp") }.compactMap(\.port)
            guard let port = ports.randomElement() else {
                sleep(milliseconds: 5)
                continue
            }
            guard let target = try? KernelAddress("udp://\(OwnHost.text):\(port)") else { return }
            let letter = Letter.make(dice.next(), count: dice.pick([0, 1, 100, 1200, 9000]))
            let count = target.withKernelForm {
                sendto(descriptor, letter, letter.count, 0, $0, $1)
            }
            if count == letter.count { sent += 1 }
            if dice.one(in: 4) { sleep(milliseconds: 1) }
            while true {
                let count = recv(descriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
                guard count >= 0 else { break }
                received += 1
                if !Letter.isRight(Array(buffer[..<count])) {
                    ledger.violation("raw: a wrong datagram of \(count) bytes came back")
                }
            }
            if received > sent { ledger.violation("raw: more datagrams came back than were sent") }
        }
    }
}

extension Talk {
    /// Records a connect that failed.
    func hasNotBegun(_ error: any Error) {
        note("connect: \(error)")
        isOver.set()
    }
}
