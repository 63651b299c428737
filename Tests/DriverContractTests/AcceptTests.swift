import Glibc
import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of accepting: each connection is accepted once, and an error can be recovered
/// from.
extension DriverContract {
    @Suite struct Accepts {
        @Test(
            "each connection of a burst is accepted exactly once",
            arguments: DriverKind.allCases, Transport.allCases)
        func aBurstIsAcceptedOnce(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let listener = try session.listen(transport)
                let token = session.attach(listener)
                session.submit(.accept, token)
                let peers = try (0..<200).map { _ in try session.connect(to: listener) }
                try session.run(until: "all are accepted") {
                    (session.seen[token]?.accepted.count ?? 0) >= 200
                }
                try session.run(for: 10_000_000)
                let accepted = session.seen[token]?.accepted ?? []
                #expect(accepted.count == 200)
                #expect(Set(accepted).count == 200)
                try expectAllServed(accepted, peers, session)
            }
        }

        /// A connection made before the listener's close is served, not reset.
        @Test(
            "connections that wait on a stopped listener can be accepted and served",
            arguments: DriverKind.allCases, Transport.allCases)
        func aStoppedListenerCanBeDrained(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let listener = try session.listen(transport)
                let token = session.attach(listener)
                session.submit(.accept, token)
                var peers = try (0..<20).map { _ in try session.connect(to: listener) }
                session.submit(.stop(.accept), token)
                try session.run(until: "the stop is answered") {
                    session.seen[token]?.stopCount == 1
                }
                let early = session.seen[token]?.accepted ?? []
                peers += try (0..<20).map { _ in try session.connect(to: listener) }
                try session.run(for: 20_000_000)
                #expect(session.seen[token]?.accepted == early, "accepted after stopped")
                var late: [Descriptor] = []
                while let next = try session.sockets.acceptWaiting(on: listener.descriptor) {
                    late.append(next.descriptor)
                }
                session.submit(.close, token)
                try session.run(until: "closed") { session.seen[token]?.closedCount == 1 }
                #expect(early.count + late.count == 40)
                try expectAllServed(early + late, peers, session)
            }
        }

        /// No connection is lost when descriptors run out.
        @Test(
            "an accept without free descriptors fails with EMFILE, and a later accept succeeds",
            arguments: DriverKind.allCases)
        func withoutDescriptorsItFailsAndRecovers(_ kind: DriverKind) throws {
            struct Outcome {
                var failure: (kind: OperationKind, error: SystemError)?
                var accepted = 0
                var events: [String] = []
                var trouble: (any Error)?
            }
            let outcome = withOwnDescriptors {
                var outcome = Outcome()
                do {
                    try withSession(kind) { session in
                        let listener = try session.listen()
                        let token = session.attach(listener)
                        for _ in 0..<3 { _ = try session.connect(to: listener) }
                        session.world.exhaustDescriptors()
                        session.submit(.accept, token)
                        try session.run(until: "the accept fails") {
                            session.seen[token]?.failures.isEmpty == false
                        }
                        outcome.failure = session.seen[token]?.failures.first
                        // The accept has ended, so the error is not reported again.
                        try session.run(for: 20_000_000)
                        outcome.events = session.seen[token]?.events ?? []
                        session.world.makeRoomForDescriptors(10)
                        session.submit(.accept, token)
                        try session.run(until: "all are accepted") {
                            session.seen[token]?.accepted.count == 3
                        }
                        outcome.accepted = session.seen[token]?.accepted.count ?? 0
                        session.seen[token]?.accepted.forEach { session.sockets.discard($0) }
                    }
                } catch {
                    outcome.trouble = error
                }
                return outcome
            }
            if let trouble = outcome.trouble { throw trouble }
            #expect(outcome.failure?.kind == .accept)
            #expect(outcome.failure?.error.number == EMFILE)
            #expect(outcome.events == ["failed(accept, EMFILE)"])
            #expect(outcome.accepted == 3)
        }

        /// The driver closes an accepted descriptor that was not pulled yet.
        @Test("a close during accepts leaks no descriptor", arguments: DriverKind.allCases)
        func aCloseInTheMiddleOfAcceptingLeaksNoDescriptor(_ kind: DriverKind) throws {
            let (before, after) = try withOwnDescriptors(kind) { session in
                let before = openDescriptorCount()
                for _ in 0..<10 { try closeWhileAccepting(session) }
                return (before, openDescriptorCount())
            }
            #expect(before == after)
        }

        private func closeWhileAccepting(_ session: Session) throws {
            let listener = try session.listen()
            let token = session.attach(listener)
            session.submit(.accept, token)
            try session.run(for: 1_000_000)
            let peers = try (0..<5).map { _ in try session.connect(to: listener) }
            session.world.pause(1_000_000)
            for _ in 0..<100 where session.seen[token]?.accepted.isEmpty == true {
                try session.world.wait(until: session.world.clock + 10_000_000)
                session.pull()
            }
            session.submit(.close, token)
            try session.run(until: "it is closed") { session.seen[token]?.closedCount == 1 }
            session.seen[token]?.accepted.forEach { session.sockets.discard($0) }
            #expect(session.seen[token]?.accepted.count ?? 0 <= peers.count)
            session.forgetPeers()
        }

        /// A peer that connects and resets before it is accepted leaves the listener usable.
        @Test(
            "a connection reset in the backlog leaves the listener usable",
            arguments: DriverKind.allCases)
        func aResetInTheBacklogHarmsNobody(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let token = session.attach(listener)
                for _ in 0..<10 { try session.connect(to: listener).reset() }
                let peer = try session.connect(to: listener)
                session.submit(.accept, token)
                try session.run(until: "somebody serves it") {
                    for descriptor in session.seen[token]?.accepted ?? []
                    where session.seen[Token(slot: UInt32(descriptor.number), generation: 9)] == nil
                    {
                        let accepted = Token(slot: UInt32(descriptor.number), generation: 9)
                        session.attach(descriptor, as: accepted)
                        session.send([42], accepted)
                    }
                    peer.readLimit = .max
                    return peer.received == [42]
                }
                #expect(session.seen[token]?.failures.isEmpty == true)
            }
        }

        /// After a reset the socket no longer has the peer's address, but accept(2) has returned
        /// it.
        @Test(
            "the driver reports each accepted connection with its peer's address",
            arguments: DriverKind.allCases, [false, true])
        func thePeerIsToldWithItsConnection(_ kind: DriverKind, _ resets: Bool) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let token = session.attach(listener)
                for number in 0..<20 {
                    let peer = try session.connect(to: listener)
                    if resets && number % 2 == 0 { peer.reset() }
                }
                var told: [SocketAddress?] = []
                var known: [SocketAddress?] = []
                session.onCompletion = { completion in
                    guard case .accepted(let descriptor) = completion.event else { return }
                    told.append(session.driver.acceptedPeer)
                    known.append(try? session.sockets.remoteAddress(of: descriptor))
                }
                session.submit(.accept, token)
                try session.run(until: "all are accepted") { told.count == 20 }
                #expect(Set(told).count == 20, "no two have the same address")
                for (address, other) in zip(told, known) {
                    #expect(address?.hostText == "127.0.0.1")
                    #expect(address?.port ?? 0 > 0)
                    if !resets { #expect(address != nil && address == other) }
                    if let other { #expect(address == other) }
                }
                session.seen[token]?.accepted.forEach { session.sockets.discard($0) }
            }
        }

        /// Checks that each descriptor leads to one peer, which gets one byte and an end of stream.
        private func expectAllServed(
            _ accepted: [Descriptor], _ peers: [any TestPeer], _ session: Session
        ) throws {
            for peer in peers { peer.readLimit = .max }
            for descriptor in accepted {
                let token = session.attach(descriptor)
                session.sendOnce([7], token)
            }
            try session.run(until: "every peer is served") {
                peers.allSatisfy { $0.received == [7] || $0.sawReset }
            }
            #expect(peers.count { $0.sawReset } == 0, "peers were reset")
        }
    }
}
