import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

/// Single messages to another program's socket.
@Suite struct UnixMessageSocketTests {
    /// A receiver that reads only on request.
    private final class Receiver {
        let address = SocketAddress.unix(TemporaryPath.make("notify"), abstract: false)
        private let socket: PlainSocket

        init() throws {
            socket = try PlainSocket(family: AF_UNIX, type: CInt(SOCK_DGRAM.rawValue))
            #expect(try socket.bind(to: address) == 0)
        }

        deinit { if case .unix(let path, _) = address { unlink(path) } }

        /// Returns the next message, which has arrived; nil if there is none.
        func receive() -> String? {
            var buffer = [UInt8](repeating: 0, count: 256)
            let count = recv(socket.number, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// Descriptors of this process, and whether each is closed on exec.
    private static var descriptors: [CInt: Bool] {
        var found: [CInt: Bool] = [:]
        for number in 0..<1024 as Range<CInt> {
            let flags = fcntl(number, F_GETFD)
            if flags >= 0 { found[number] = flags & FD_CLOEXEC != 0 }
        }
        return found
    }

    @Test("a socket sends messages while the process has no free descriptor")
    func withoutDescriptors() async {
        await #expect(processExitsWith: .success) {
            let receiver = try Receiver()
            let socket = try UnixMessageSocket()
            var limit = rlimit(rlim_cur: 3, rlim_max: 1024)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            #expect(throws: SystemError.self) { try UnixMessageSocket() }
            for number in 0..<3 {
                try socket.send("\(number)", to: receiver.address, waits: true)
                #expect(receiver.receive() == "\(number)")
            }
        }
    }

    /// In a process of its own, since other tests open descriptors too.
    @Test("its descriptor is closed on exec, and with the object")
    func closes() async {
        await #expect(processExitsWith: .success) {
            let before = UnixMessageSocketTests.descriptors
            var socket: UnixMessageSocket? = try UnixMessageSocket()
            let added = UnixMessageSocketTests.descriptors.filter { before[$0.key] == nil }
            #expect(added.map(\.value) == [true])
            #expect(socket != nil)
            socket = nil
            #expect(UnixMessageSocketTests.descriptors == before)
        }
    }

    @Test("without a wait, a receiver that reads nothing is an error at once")
    func full() throws {
        let receiver = try Receiver()
        let socket = try UnixMessageSocket()
        var error: SystemError?
        let start = MonotonicClock.now
        for _ in 0..<100_000 where error == nil {
            do throws(SystemError) {
                try socket.send("x", to: receiver.address, waits: false)
            } catch let full {
                error = full
            }
        }
        #expect(error?.number == EAGAIN)
        #expect(MonotonicClock.now - start < 1_000_000_000)
        #expect(receiver.receive() == "x")
    }
}
