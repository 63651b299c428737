// The parts of a round: servers and clients with options of all kinds, within reason.
import Glibc
import NetAPI

extension Round {
    func options(_ dice: inout Dice) -> Options {
        var options = Options(
            backend: settings.backend, loops: .count(dice.pick([1, 1, 2, 2, 3, 4, 8])),
            reusePort: dice.one(in: 2))
        options.balancer = dice.pick([.roundRobin, .leastConnections, .sourceHash])
        options.allowHalfClosure = dice.one(in: 2)
        options.limits.inboundBytes = dice.pick([128 << 10, 1 << 20])
        options.limits.outboundHighMark = dice.pick([1 << 10, 64 << 10, 256 << 10])
        options.limits.outboundLowMark = dice.one(in: 2) ? 0 : options.limits.outboundHighMark / 4
        options.workers.threads = dice.pick([1, 2, 8])
        options.workers.queued = dice.pick([0, 4, 1024])
        options.workers.perConnection = dice.pick([1, 2, 16])
        options.udp.receiveOffload = dice.one(in: 4)
        options.udp.segmentationOffload = dice.one(in: 4)
        options.timeouts.linger = .seconds(1)
        options.slowTurn = .seconds(2)
        if dice.one(in: 8) { options.busyPoll = .microseconds(100) }
        if dice.one(in: 8) { options.minimumWait = .microseconds(100) }
        guard !isPatient else { return options }
        if dice.one(in: 3) { options.limits.connections = dice.within(1...20) }
        if dice.one(in: 6) { options.limits.connectionsPerHost = dice.within(1...20) }
        if dice.one(in: 4) { options.timeouts.idle = .milliseconds(dice.within(20...300)) }
        if dice.one(in: 4) { options.timeouts.read = .milliseconds(dice.within(20...300)) }
        if dice.one(in: 4) { options.timeouts.write = .milliseconds(dice.within(20...300)) }
        options.timeouts.close = .milliseconds(dice.within(50...1000))
        options.timeouts.linger = .milliseconds(dice.within(20...500))
        return options
    }

    private func addresses(_ dice: inout Dice, _ place: Int) -> [Address] {
        let stream = Address(stringLiteral: "tcp://\(OwnHost.text):0")
        var list = [stream]
        if dice.one(in: 3) { list.append(stream) }
        if dice.one(in: 2) {
            list.append(.unix("@stress-\(getpid())-\(seed)-\(place)"))
        } else {
            list.append(.unix("\(settings.folder)/\(seed)-\(place)"))
        }
        if dice.one(in: 2) { list.append(Address(stringLiteral: "udp://\(OwnHost.text):0")) }
        return list
    }

    func makeServer(_ place: Int, _ dice: inout Dice) -> Servant? {
        var boot: Ending.InBoot?
        if !isPatient, dice.one(in: 4) { boot = dice.pick(Ending.InBoot.allCases) }
        if boot == .stopping, without(.bootStop) { boot = nil }
        let books = Books("server \(place)", bootOrder: boot)
        let life = dice.pick(Servant.Life.allCases)
        let (options, list) = (options(&dice), addresses(&dice, place))
        let keeps = !without(.keptLoops) && dice.one(in: 4)
        do {
            let server: Server
            if dice.one(in: 2) {
                server = try Server(Actor(self, books), listen: list, options: options)
            } else {
                server = try Server(listen: list, options: options) { [self] in
                    Keeper(Actor(self, books), keeps: keeps)
                }
            }
            return Servant(self, books, server, life)
        } catch {
            ledger.violation("server \(place) cannot be made: \(error)")
            return nil
        }
    }

    /// Starts a server on duplicates of the listening sockets of another server.
    func handOut(_ dice: inout Dice) {
        guard let from = servants.update({ $0.first }),
            let address = from.server.boundAddresses.first,
            let descriptors = try? from.server.duplicateListeners(of: address)
        else { return }
        let books = Books("server with sockets handed out")
        let list = descriptors.map { Address.inherited($0) }
        do {
            let server = try Server(Actor(self, books), listen: list, options: options(&dice))
            let servant = Servant(self, books, server, .start)
            servant.live()
            servants.update { $0.append(servant) }
            ledger.count("handed out")
        } catch {
            descriptors.forEach { close($0) }
            ledger.violation("a server of handed-out sockets cannot be made: \(error)")
        }
    }

    func makeClient(_ place: Int, _ dice: inout Dice) -> Caller? {
        let books = Books("client \(place)")
        let actor = Actor(self, books)
        do {
            return Caller(
                actor: actor, books: books, client: try Client(actor, options: options(&dice)))
        } catch {
            ledger.violation("client \(place) cannot be made: \(error)")
            return nil
        }
    }

    /// Makes a conversation through one to three servers; nil if no server is available or the
    /// round begins no more.
    func makeTalk(_ dice: inout Dice, isRaw: Bool, route given: [Address]? = nil) -> Talk? {
        var shape = Talk.Shape()
        let bound = servants.update { $0 }.map { ($0, $0.server.boundAddresses) }
        let known = bound.flatMap(\.1)
        // Stops with a limit of zero run beside the start of a server that is to end in its boot.
        let doomed = bound.filter { $0.0.books.bootOrder != nil }.flatMap(\.1)
        let streams = known.filter { !$0.description.hasPrefix("udp") }
        let letters = known.filter { $0.description.hasPrefix("udp") }
        if given == nil, !isRaw, !letters.isEmpty, dice.one(in: 12) {
            shape.mode = .datagrams
            shape.route = [dice.pick(letters)]
        } else {
            guard given != nil || !streams.isEmpty else { return nil }
            shape.mode = dice.pick([.echo, .echo, .work, .source, .sink])
            let hops = dice.pick([1, 1, 1, 2, 3])
            shape.route = given ?? (0..<hops).map { _ in dice.pick(streams) }
        }
        shape.request = dice.size(upTo: Pattern.most)
        if shape.mode == .work { shape.request = 64 * dice.within(1...100) }
        shape.isUnix = shape.route.contains { $0.description.hasPrefix("unix") }
        shape.way = dice.below(48)
        shape.serviceEnds = dice.one(in: 3)
        shape.isCalm = isPatient && shape.mode != .datagrams && !dice.one(in: 3)
        return talks.update { talks in
            // Under the lock, a wait for all conversations includes this one, or it does not begin.
            guard !isQuiet.isSet else { return nil }
            let talk = Talk(number: talks.count, key: dice.next(), shape)
            talks.append(talk)
            if shape.isUnix, isEnding.isSet || shape.route.contains(where: doomed.contains) {
                talk.isCut.set()
            }
            return talk
        }
    }
}
