/// Tests that errors name the real problem of an address, and a remedy that works.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct RemedyTests {
    private func startError(_ setup: Setup, _ address: Address) throws -> NetError {
        let server = try Server(
            DatagramTestHandler(), listen: address, options: setup.options())
        return try #require(try server.startError())
    }

    private func connectError(_ setup: Setup, _ address: Address) throws -> NetError {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        let outcome = Shared<NetError?>(nil)
        client.connect(to: address, timeout: .seconds(60)) { result in
            if case .failure(let error) = result { outcome.value = error }
        }
        try eventually("it is refused") { outcome.value != nil }
        try bounded("stop") { client.stop() }
        return try #require(outcome.value)
    }

    @Test("the error for a Unix path in use names the path and no port", arguments: Setup.single)
    func aPathInUseIsNotToldOfPorts(_ setup: Setup) throws {
        for name in [TemporaryPath.make(), "@millrace-remedy-\(getpid())"] {
            try withServer(setup, listen: [.unix(name)]) { _ in
                let error = try startError(setup, .unix(name))
                #expect(error.code == .addressInUse)
                #expect(error.cause == "\(Address.unix(name)): address already in use (EADDRINUSE)")
                #expect(error.remedy == "stop the other server, or choose another path or name")
            }
        }
    }

    @Test(
        "the error for a port in use names the option that shares the port",
        arguments: Setup.single)
    func aPortInUseIsToldWhatShares(_ setup: Setup) throws {
        try withServer(setup) { server in
            let error = try startError(setup, server.addresses[0])
            #expect(
                error.remedy == "stop the other server, choose port 0, or set reusePort in both")
        }
        try withDatagramServer(setup) { server in
            let error = try startError(setup, server.boundAddresses[0])
            #expect(
                error.remedy
                    == "stop the other program, choose port 0, or set udp.reuseAddress in both")
        }
    }

    @Test(
        "the error for a link-local host without a zone suggests a zone",
        arguments: Setup.single, ["tcp://[fe80::1]:9000", "udp://[fe80::1]:9000"])
    func aLinkLocalHostWithoutAZoneIsToldOfZones(_ setup: Setup, _ text: String) throws {
        let address = try Address(parsing: text)
        for error in [try startError(setup, address), try connectError(setup, address)] {
            // A machine without IPv6 reports that first.
            guard error.errno == EINVAL else { continue }
            #expect(error.code == .invalidAddress)
            #expect(
                error.cause == "\(text) is an address of one network, and does not say of which")
            #expect(error.remedy == "name its interface behind the host, as in [fe80::1%eth0]")
        }
    }

    @Test(
        "a connect to port 0 reports an invalid address",
        arguments: Setup.single, ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "tcp://[::1]:0"])
    func nobodyIsAtPortZero(_ setup: Setup, _ text: String) throws {
        let error = try connectError(setup, try Address(parsing: text))
        #expect(error.code == .invalidAddress)
        #expect(error.cause == "\(text): nobody can be reached at port 0")
        #expect(error.remedy == "give the port on which the other side listens")
    }

    @Test("the error for an invalid MILLRACE_BACKEND names the variable")
    func aWrongEnvironmentIsNamed() async {
        await #expect(processExitsWith: .success) {
            setenv("MILLRACE_BACKEND", "kqueue", 1)
            let error = #expect(throws: NetError.self) {
                try Server(TestHandler(), listen: anyPort)
            }
            #expect(error?.code == .invalidOption)
            #expect(error?.cause == "MILLRACE_BACKEND in the environment is \"kqueue\"")
            #expect(error?.remedy == "set it to epoll or io_uring, or not at all")
        }
    }

    @Test("an empty MILLRACE_BACKEND counts as unset")
    func anEmptyEnvironmentIsNone() async {
        await #expect(processExitsWith: .success) {
            setenv("MILLRACE_BACKEND", "", 1)
            _ = try Server(TestHandler(), listen: anyPort)
        }
    }

    /// With or without IPv6.
    @Test(
        "a server without a host in its address accepts clients with or without IPv6",
        arguments: Setup.all)
    func noHostServesOnEveryMachine(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp://:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let client = try TestClient(to: .tcp("127.0.0.1", port: port))
            #expect(try client.roundTrip("x"))
        }
    }
}
