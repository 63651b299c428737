/// A loop and a driver around an acceptor: performs its decisions in a random order of events, and
/// checks them against the rules of the seam.
import MillraceTestSupport

@testable import MillraceEventLoop

struct AcceptorModel {
    private enum Stream { case none, running, stopping }

    private struct Place {
        var token: Token
        let kind: StreamKind
        var isClosed = false
        var isAttached = false
        var stream = Stream.none
        var isClosing = false
        var parked: [Descriptor] = []
    }

    private var acceptor: Acceptor
    private var places: [Place] = []
    private var now: Nanoseconds = 0
    private var lastDescriptor: CInt = 100

    init(_ trial: inout Trial) {
        var listeners: [(bound: BoundListener, spreads: Bool)] = []
        for index in 0..<1 + UInt32(trial.random.below(4)) {
            let isDatagram = trial.random.happens(25)
            let bound = BoundListener(
                descriptor: Descriptor(CInt(index)), address: .v4(IPv4Bytes(1), port: 1),
                isDatagram: isDatagram)
            listeners.append((bound, spreads: false))
            places.append(
                Place(
                    token: Token(slot: index, generation: 1),
                    kind: isDatagram ? .datagrams : .accept))
        }
        acceptor = Acceptor(listeners, Targets(acceptorOf: []))
    }

    mutating func step(_ trial: inout Trial) throws {
        let listener = trial.random.below(places.count)
        now += Nanoseconds(trial.random.below(20_000_000))
        switch trial.random.below(300) {
        case 0..<50: try start(listener, &trial)
        case 50..<150: try accept(listener, &trial)
        case 150..<200: try endStream(listener, &trial)
        case 200..<250: try resume(&trial)
        case 250..<290: try advance(listener, &trial)
        case 290..<294: try add(&trial)
        case 294..<298:
            trial.begin("stop \(listener)")
            try stop(listener, trial)
        default: try stop(&trial)
        }
        try compare(trial)
    }

    /// Stops, and answers until every listener is closed.
    mutating func finish(_ trial: inout Trial) throws {
        try stop(&trial)
        for _ in 0..<200 where !acceptor.hasStopped {
            now += 20_000_000
            for listener in places.indices {
                try endStream(listener, &trial)
                try advance(listener, &trial)
            }
            try compare(trial)
        }
        try trial.check(acceptor.hasStopped, "a listener is left")
    }

    private func compare(_ trial: Trial) throws {
        let emptying = acceptor.listeners.filter {
            if case .emptying = $0.state { true } else { false }
        }
        try trial.check(acceptor.emptyingCount == emptying.count, "\(acceptor.emptyingCount)")
        for (listener, place) in zip(acceptor.listeners, places) {
            let parked = listener.parked.map(\.descriptor)
            try trial.check(parked == place.parked, "parked \(parked), not \(place.parked)")
            let runs = listener.state == .accepting
            try trial.check(runs == (place.stream == .running), "\(listener.state)")
        }
    }

    // MARK: Events

    private mutating func start(_ listener: Int, _ trial: inout Trial) throws {
        trial.begin("start \(listener)")
        if acceptor.needsSlot(listener) {
            try trial.check(!places[listener].isAttached, "attached twice")
            places[listener].isAttached = true
            acceptor.attached(listener, as: places[listener].token)
        }
        guard let token = acceptor.start(listener) else { return }
        let place = places[listener]
        try trial.check(token == place.token && place.isAttached, "\(token)")
        try trial.check(place.stream == .none && !place.isClosing, "started while it runs")
        places[listener].stream = .running
    }

    private mutating func accept(_ listener: Int, _ trial: inout Trial) throws {
        guard places[listener].stream != .none else { return }
        trial.begin("accepted on \(listener)")
        let hasRoom = trial.random.happens(60)
        switch acceptor.admit(on: listener, takesRoom: hasRoom) {
        case .place: try trial.check(hasRoom, "placed without room")
        case .placeBeyondLimit:
            let isStopping = acceptor.listeners[listener].isStopping
            try trial.check(isStopping, "placed beyond the limit")
        case .park:
            lastDescriptor += 1
            acceptor.park(.numbered(lastDescriptor), on: listener)
            places[listener].parked.append(Descriptor(lastDescriptor))
        case .refuse: try trial.check(false, "refused before the close")
        }
        let isFull = trial.random.happens(40)
        guard let pause = acceptor.pause(listener, hasRoom: !isFull) else { return }
        try trial.check(pause == .full(places[listener].token) && isFull, "\(pause)")
        try stopStream(listener, trial)
    }

    private mutating func stopStream(_ listener: Int, _ trial: Trial) throws {
        let stream = places[listener].stream
        try trial.check(stream == .running, "a stop of a stream that is \(stream)")
        places[listener].stream = .stopping
    }

    private mutating func endStream(_ listener: Int, _ trial: inout Trial) throws {
        let stream = places[listener].stream
        guard stream != .none else { return }
        trial.begin("end of the stream of \(listener)")
        places[listener].stream = .none
        let fails = stream == .running || trial.random.happens(30)
        let end = fails ? acceptor.failed(listener) : acceptor.stopped(listener)
        let mayFinish = acceptor.listeners[listener].isStopping
        try trial.check((end == .finish) == mayFinish, "\(end)")
        if end == .finish { try finish(listener, trial) }
    }

    private mutating func resume(_ trial: inout Trial) throws {
        trial.begin("resume")
        for listener in places.indices {
            while true {
                let hasRoom = trial.random.happens(60)
                let next = acceptor.nextParked(on: listener, takesRoom: hasRoom)
                guard let next else { break }
                try unpark(next, listener, trial)
            }
            let hasRoom = trial.random.happens(60)
            let mayResume = acceptor.mayResume(listener, hasRoom: hasRoom)
            if mayResume || acceptor.retriesAfterClose(listener) { try start(listener, &trial) }
        }
    }

    private mutating func unpark(
        _ stream: AcceptedStream, _ listener: Int, _ trial: Trial
    ) throws {
        let first = places[listener].parked.isEmpty ? nil : places[listener].parked.removeFirst()
        try trial.check(stream.descriptor == first, "\(stream.descriptor), not \(first as Any)")
    }

    private mutating func stop(_ trial: inout Trial) throws {
        trial.begin("stop")
        let limit = Nanoseconds(trial.random.below(3_000)) * 1_000_000
        acceptor.stopRequested(within: limit, now: now)
        for listener in places.indices { try stop(listener, trial) }
        try trial.check(acceptor.isStopping, "stopped")
    }

    private mutating func stop(_ listener: Int, _ trial: Trial) throws {
        let wasStopping = acceptor.isStopping
        switch acceptor.stop(listener) {
        case .nothing: break
        case .stopStream(let kind, let token):
            let place = places[listener]
            try trial.check(kind == place.kind && token == place.token, "\(kind) \(token)")
            try stopStream(listener, trial)
        case .finish: try finish(listener, trial)
        }
        try trial.check(acceptor.isStopping == wasStopping, "one listener is not the server")
    }

    /// Adds a listener, as a loop does that is not stopping.
    private mutating func add(_ trial: inout Trial) throws {
        guard !acceptor.isStopping, places.count < 20 else { return }
        trial.begin("add")
        lastDescriptor += 1
        let bound = BoundListener(
            descriptor: Descriptor(lastDescriptor), address: .v4(IPv4Bytes(1), port: 1))
        let free = places.firstIndex { $0.isClosed && $0.kind == .accept } ?? places.count
        let added = acceptor.add(bound, spreads: false)
        try trial.check(added == free, "\(added as Any), not \(free)")
        let token = Token(slot: UInt32(free), generation: UInt32(lastDescriptor))
        let place = Place(token: token, kind: .accept)
        if free < places.count { places[free] = place } else { places.append(place) }
    }

    private mutating func finish(_ listener: Int, _ trial: Trial) throws {
        guard acceptor.mayFinish(listener) else { return }
        try trial.check(places[listener].stream == .none, "finished while the stream runs")
        while let stream = acceptor.takeParked(on: listener) {
            try unpark(stream, listener, trial)
        }
        try trial.check(places[listener].parked.isEmpty, "a parked connection is left")
        if !acceptor.beginEmptying(listener, isHandedOut: false, now: now) {
            try trial.check(places[listener].kind == .datagrams, "a backlog was left")
            try close(listener, trial)
        }
    }

    /// Looks at a listener's backlog, or reports that its close is complete.
    private mutating func advance(_ listener: Int, _ trial: inout Trial) throws {
        trial.begin("advance \(listener)")
        if places[listener].isClosing {
            places[listener].isClosing = false
            places[listener].isClosed = true
            acceptor.closed(listener)
        } else {
            switch acceptor.emptying(listener, clock: now, now: now) {
            case .wait: break
            case .accept(_, let isLast):
                if isLast || trial.random.happens(50) { return try close(listener, trial) }
                if trial.random.happens(30) { acceptor.emptyingFailed(listener, now: now) }
            }
        }
    }

    private mutating func close(_ listener: Int, _ trial: Trial) throws {
        let place = places[listener]
        try trial.check(place.stream == .none && !place.isClosing, "closed twice")
        switch acceptor.close(listener) {
        case .byDriver(let token):
            try trial.check(token == place.token && place.isAttached, "\(token)")
            places[listener].isClosing = true
        case .byLoop:
            try trial.check(!place.isAttached, "the driver has it")
            places[listener].isClosed = true
        }
    }
}
