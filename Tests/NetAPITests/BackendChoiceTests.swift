/// Tests of the backend in use, and of the error when the requested one cannot run. No other test
/// depends on the backend.
import Glibc
import NetAPI
import Testing

@Suite struct BackendChoiceTests {
    @Test("the server runs the backend that its options request", arguments: Setup.all)
    func theBackendAskedForIsTheOneThatRuns(_ setup: Setup) throws {
        try withServer(setup) { server in
            #expect(server.server.backend.chosen == setup.backend)
            #expect(server.server.backend.reason == nil)
        }
    }

    @Test("the automatic backend choice serves clients")
    func automaticChoosesOneThatServes() throws {
        let server = try Server(TestHandler(), listen: anyPort)
        try serve(server) { server in
            let (chosen, reason) = server.server.backend
            #expect([.epoll, .ioUring].contains(chosen))
            #expect(reason.map { !$0.isEmpty } ?? true)
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
    }

    /// The test does not know whether this machine has io_uring: it serves, or the error gives the
    /// reason.
    @Test("the io_uring backend serves clients or throws an error with the reason")
    func ioUringServesOrSaysWhyNot() throws {
        let server: Server
        do throws(NetError) {
            server = try Server(
                TestHandler(), listen: anyPort, options: Options(backend: .ioUring))
        } catch {
            #expect(error.code == .backendUnavailable)
            #expect(error.description.contains("io_uring"))
            #expect(error.remedy.contains(".epoll") || error.remedy.contains(".automatic"))
            return
        }
        try serve(server) { server in
            #expect(server.server.backend.chosen == .ioUring)
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
    }

    @Test("MILLRACE_BACKEND replaces the automatic choice of the backend")
    func theEnvironmentReplacesAutomatic() async {
        await #expect(processExitsWith: .success) {
            setenv("MILLRACE_BACKEND", "epoll", 1)
            let server = try Server(TestHandler(), listen: anyPort)
            #expect(server.backend.chosen == .epoll)
        }
    }

    @Test("an invalid MILLRACE_BACKEND is refused with an error that contains its value")
    func aWrongEnvironmentIsRefusedWithItsText() async {
        await #expect(processExitsWith: .success) {
            setenv("MILLRACE_BACKEND", "kqueue", 1)
            let error = #expect(throws: NetError.self) {
                try Server(TestHandler(), listen: anyPort)
            }
            #expect(error?.description.contains("kqueue") == true)
        }
    }

    @Test("backends print as epoll, io_uring and automatic")
    func backendsHaveTheNamesOfTheirInterfaces() {
        #expect(
            "\(Backend.epoll) \(Backend.ioUring) \(Backend.automatic)" == "epoll io_uring automatic"
        )
    }
}
