import MillraceEventLoop
import Testing

/// Contract tests of receiving datagrams: each comes once and in order, also when a stop comes
/// between two that arrived together.
extension DriverContract {
    @Suite struct Datagrams {
        private func bind(
            _ session: Session, receiveOffload: Bool = false
        ) throws -> BoundListener {
            var options = ListenOptions()
            options.receiveOffload = receiveOffload
            return try session.sockets.bindDatagrams(on: session.world.address(.tcp), options)
        }

        /// Sends `count` datagrams of one byte each, before any receive.
        private func send(
            _ session: Session, from sender: BoundListener, to receiver: BoundListener,
            bundling: Bool = false, count: Int = 10
        ) throws {
            let name = try receiver.address.kernelCopy()
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 10, alignment: 1)
            bytes.copyBytes(from: 0..<10)
            defer {
                name.deallocate()
                bytes.deallocate()
            }
            let list = (0..<count).map {
                OutgoingDatagram(
                    bytes: UnsafeRawBufferPointer(
                        rebasing: UnsafeRawBufferPointer(bytes)[$0..<$0 + 1]),
                    name: UnsafeRawBufferPointer(name))
            }
            let sent = list.withUnsafeBufferPointer {
                session.sockets.send(
                    $0, on: sender.descriptor, bundling ? .bundled : .plain)
            }
            #expect(sent.count == count)
        }

        /// A datagram reports the address that it was sent to, and the answer is sent from that
        /// address.
        @Test(
            "a datagram reports the address it was sent to, and the answer is sent from there",
            arguments: DriverKind.allCases, [false, true])
        func anAskedAddressIsToldAndAnswersAreSentFromIt(
            _ kind: DriverKind, isBundled: Bool
        ) throws {
            try withSession(kind) { session in
                var options = ListenOptions()
                options.receiveOffload = isBundled
                let receiver = try session.sockets.bindDatagrams(
                    on: .v4(IPv4Bytes(0), port: 0), options)
                let sender = try bind(session)
                let port = try #require(receiver.address.port)
                let targets = ["127.0.0.1", "127.0.0.2", "127.0.0.1"].compactMap {
                    SocketAddress(host: $0, port: port)
                }
                let there = session.attach(receiver.descriptor)
                let here = session.attach(sender.descriptor)
                var (asked, answered): ([SocketAddress?], [SocketAddress?]) = ([], [])
                session.onCompletion = { completion in
                    guard case .datagram(let datagram) = completion.event else { return }
                    let name = datagram.pointee.sender
                    guard completion.token == there else {
                        return answered.append(SocketAddress(kernelForm: name))
                    }
                    asked.append(SocketAddress(askedBehind: name, port: port))
                    let answer = [OutgoingDatagram(bytes: datagram.pointee.bytes, name: name)]
                    let sent = answer.withUnsafeBufferPointer {
                        session.sockets.send(
                            $0, on: receiver.descriptor, isBundled ? .bundled : .sourced)
                    }
                    #expect(sent.count == 1)
                }
                for token in [here, there] { session.submit(.receiveDatagrams, token) }
                for (number, target) in targets.enumerated() {
                    let bound = BoundListener(descriptor: receiver.descriptor, address: target)
                    try send(session, from: sender, to: bound, count: 1)
                    try session.run(until: "it is answered") { answered.count > number }
                }
                #expect(asked == targets && answered == targets)
                // A socket that is bound to one address gets no destination address.
                #expect(session.seen[here]?.datagrams.count == 3)
            }
        }

        private let all = (0..<10).map { [UInt8($0)] }

        @Test("datagrams are delivered once and in order", arguments: DriverKind.allCases)
        func theyComeOnceAndInOrder(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (sender, receiver) = (try bind(session), try bind(session))
                try send(session, from: sender, to: receiver)
                let token = session.attach(receiver.descriptor)
                session.submit(.receiveDatagrams, token)
                try session.run(until: "all came") { session.seen[token]?.datagrams.count == 10 }
                #expect(session.seen[token]?.datagrams == all)
                session.sockets.discard(sender.descriptor)
            }
        }

        /// Datagrams arrive one by one or several in one piece. Either way the segment size is
        /// right, and earlier datagrams in the same buffer do not affect it.
        @Test(
            "the segment size is right for single datagrams and for several in one piece",
            arguments: DriverKind.allCases)
        func theSizeOfThoseInOnePieceIsAlwaysTold(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let sender = try bind(session)
                let receiver = try bind(session, receiveOffload: true)
                let token = session.attach(receiver.descriptor)
                session.submit(.receiveDatagrams, token)
                var came: [[UInt8]] = []
                session.onCompletion = { completion in
                    guard case .datagram(let datagram) = completion.event else { return }
                    let (bytes, size) = (datagram.pointee.bytes, datagram.pointee.segmentSize)
                    let step = size > 0 ? size : max(1, bytes.count)
                    for start in stride(from: 0, to: bytes.count, by: step) {
                        came.append(Array(bytes[start..<min(start + step, bytes.count)]))
                    }
                }
                for (round, bundling) in [false, true, false, true].enumerated() {
                    try send(session, from: sender, to: receiver, bundling: bundling)
                    try session.run(until: "all came") { came.count >= (round + 1) * all.count }
                    #expect(came.suffix(all.count) == all[...])
                }
                session.sockets.discard(sender.descriptor)
            }
        }

        /// The other datagrams may come before the stop is answered or after the next receive. None
        /// is lost, while other sockets receive too.
        @Test(
            "a stop between datagrams that arrived together loses none of them",
            arguments: DriverKind.allCases)
        func aStopBetweenThoseThatCameTogetherLosesNone(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let sender = try bind(session)
                let receivers = try (0..<3).map { _ in try bind(session) }
                for receiver in receivers { try send(session, from: sender, to: receiver) }
                let tokens = receivers.map { session.attach($0.descriptor) }
                session.onCompletion = { completion in
                    guard case .datagram = completion.event,
                        session.seen[completion.token]?.datagrams.count == 1
                    else { return }
                    session.submit(.stop(.datagrams), completion.token)
                }
                for token in tokens { session.submit(.receiveDatagrams, token) }
                try session.run(until: "all are stopped") {
                    tokens.allSatisfy { session.seen[$0]?.stopCount == 1 }
                }
                for token in tokens { session.submit(.receiveDatagrams, token) }
                try session.run(until: "all came") {
                    tokens.allSatisfy { session.seen[$0]?.datagrams.count == 10 }
                }
                for token in tokens { #expect(session.seen[token]?.datagrams == all) }
                session.sockets.discard(sender.descriptor)
            }
        }

        @Test(
            "a close between datagrams that arrived together delivers none to another socket",
            arguments: DriverKind.allCases)
        func aCloseBetweenThoseThatCameTogetherIsTheLastWord(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (sender, receiver) = (try bind(session), try bind(session))
                try send(session, from: sender, to: receiver)
                let token = session.attach(receiver.descriptor)
                session.onCompletion = { completion in
                    guard case .datagram = completion.event else { return }
                    session.onCompletion = nil
                    session.submit(.close, token)
                }
                session.submit(.receiveDatagrams, token)
                try session.run(until: "it is closed") { session.seen[token]?.closedCount == 1 }
                // The closed socket's remaining datagrams are not delivered to another socket.
                let other = try bind(session)
                let next = session.attach(other.descriptor)
                session.submit(.receiveDatagrams, next)
                try send(session, from: sender, to: other)
                try session.run(until: "all came") { session.seen[next]?.datagrams.count == 10 }
                #expect(session.seen[next]?.datagrams == all)
                session.sockets.discard(sender.descriptor)
            }
        }
    }
}
