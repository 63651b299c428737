/// Tests of one address that a server is to listen on twice.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ListeningTwiceTests {
    /// The kernel would give each a part of the clients.
    @Test("one port is not listened on for two kinds of streams", arguments: Setup.single)
    func onePortTwice(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, listen: ["tcp://127.0.0.1:0"], options: options) { test in
            let port = test.addresses[0].port ?? 0
            let other = try Address(parsing: "tcp://127.0.0.1:\(port)?proxy")
            #expect(throws: NetError.self) { try test.server.listen(on: other) }
            let twice = try Address(parsing: "tcp4://127.0.0.1:\(port)")
            let error = #expect(throws: NetError.self) {
                _ = try Server(TestHandler(), listen: [twice, other], options: options)
            }
            #expect(error?.code == .addressInUse)
        }
    }

    /// With `reusePort` the kernel would allow it, and one end would leave the other.
    @Test(
        "an address is refused if it is served already", arguments: Setup.all, ListeningTests.shares
    )
    func refusesTwice(_ setup: Setup, _ reusePort: Bool) throws {
        let options = setup.options { $0.reusePort = reusePort }
        try withServer(setup, options: options) { test in
            let address = test.addresses[0]
            for _ in 0..<2 {
                let error = #expect(throws: NetError.self) { try test.server.listen(on: address) }
                #expect(error?.code == .addressInUse)
            }
            #expect(test.addresses == [address])
        }
    }

    /// Each thread may find the address free when it checks that.
    @Test("of threads that add one address at once, one succeeds", arguments: Setup.all)
    func atOnce(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, options: options) { test in
            for _ in 0..<50 {
                let address = try test.server.listen(on: anyPort)
                try test.server.stopListening(on: address)
                let (ready, added) = (Shared(0), Shared(0))
                let workers = (0..<2).map { _ in
                    Worker {
                        ready.update { $0 += 1 }
                        while ready.value < 2 {}
                        guard (try? test.server.listen(on: address)) != nil else { return }
                        added.update { $0 += 1 }
                    }
                }
                for worker in workers { try worker.join("listen") }
                #expect(added.value == 1)
                try test.server.stopListening(on: address)
                #expect(test.addresses.count == 1)
            }
        }
    }

    /// One call for all of them, since no address distinguishes them.
    @Test(
        "an address of several inherited sockets is refused, and all end together",
        arguments: Setup.all)
    func severalInherited(_ setup: Setup) async throws {
        let options = setup.options { $0.reusePort = true }
        let anyPort: Address = "tcp://127.0.0.1:0"
        let copies = try withServer(
            Setup(backend: setup.backend, loops: 2), listen: [anyPort],
            options: setup.options {
                $0.reusePort = true
                $0.loops = .count(2)
            }
        ) { try $0.server.duplicateListeners(of: $0.addresses[0]) }
        for isAsync in [false, true] {
            let inherited = copies.map { Address.inherited(isAsync ? $0 : dup($0)) }
            let server = try Server(TestHandler(), listen: inherited, options: options)
            try bounded("start") { try server.start() }
            let address = server.boundAddresses[0]
            #expect(server.boundAddresses == [address, address])
            let error = #expect(throws: NetError.self) { try server.listen(on: address) }
            #expect(error?.code == .addressInUse)
            if isAsync {
                try await server.stopListening(on: address)
            } else {
                try bounded("stopListening") { try server.stopListening(on: address) }
            }
            #expect(server.boundAddresses == [])
            for number in copies where isAsync { #expect(fcntl(number, F_GETFD) < 0) }
            await server.stop()
        }
    }
}
