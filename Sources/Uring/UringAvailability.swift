internal import CMillraceLinux
internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// Finds out whether io_uring can be used on this machine, by using it.
///
/// Kernel versions do not show that: kernels are patched, and sandboxes forbid calls. The probe
/// makes a small ring and checks for its operations. Then it receives a datagram, a byte and the
/// end of a stream in the same way as sockets and connections do.
extension UringDriver {
    /// The reason why io_uring cannot be used, or nil. Probed once per process, and again only
    /// after an error that may have passed.
    package static var unavailability: UringRefusal? { findings.unavailability }

    /// Whether a multishot receive can have a limit (Linux 6.17) and reports every end. Up to March
    /// 2026 (a68ed2df7213) it lost the end of a Unix stream that came together with bytes.
    package static var canLimitReceives: Bool { findings.canLimitReceives }

    struct Findings {
        var unavailability: UringRefusal?
        var canLimitReceives = false

        fileprivate static func lacks(_ reason: String) -> Findings {
            Findings(unavailability: UringRefusal(reason))
        }
    }

    private static let remembered = Monitor<Findings?>(nil)

    private static var findings: Findings {
        remembered.withLock { remembered in
            if let remembered { return remembered }
            do throws(SystemError) {
                let findings = try probe()
                remembered = findings
                return findings
            } catch {
                let findings = Findings(unavailability: UringRefusal(error))
                if !UringRefusal.isPassing(error) { remembered = findings }
                return findings
            }
        }
    }

    private static func probe() throws(SystemError) -> Findings {
        let limiting = try UringDriver(.tiny, trying: .all)
        defer { limiting.shutDown() }
        let missing = mr_ring_missing_operation(limiting.ring)
        if missing < 0 { throw SystemError(-missing, "io_uring_register") }
        if missing > 0 { return .lacks("this kernel's io_uring lacks operation \(missing)") }
        return try judge(limiting) { () throws(SystemError) in
            try UringDriver(.tiny, trying: .debian13)
        }
    }

    /// Judges a kernel by the events of two drivers over it: one that limits receives, and one that
    /// polls streams, which is made only if the first one receives no whole stream.
    static func judge(
        _ limiting: any Driver, polling: () throws(SystemError) -> any Driver
    ) throws(SystemError) -> Findings {
        guard try receivesADatagram(limiting) else {
            return .lacks("a receive of datagrams does not work")
        }
        do throws(SystemError) {
            switch try receiveStream(limiting) {
            case .whole: return Findings(canLimitReceives: true)
            case .withoutEnd: break
            case .nothing: return .lacks("a receive does not work")
            }
        } catch  where error.number == EINVAL {
            // Older kernels refuse the limit with EINVAL.
        }
        let polling = try polling()
        defer { polling.shutDown() }
        guard try receiveStream(polling) == .whole else { return .lacks("a receive does not work") }
        return Findings()
    }

    private enum Reception {
        case nothing
        case withoutEnd
        case whole
    }

    /// The time for an end behind bytes that were received. A kernel that reports it does so in
    /// the same entry.
    private static var endTime: Nanoseconds { 50_000_000 }

    /// Receives a byte and the end of a stream. Both are sent between the start of the receive and
    /// the next wait: a faulty kernel then handles two wake-ups as one.
    private static func receiveStream(_ driver: any Driver) throws(SystemError) -> Reception {
        let peer = try start(.receive, on: driver, Token(slot: 0, generation: 1), MR_SOCK_STREAM)
        defer { Glibc.close(peer) }
        guard Glibc.write(peer, "x", 1) == 1 else { throw SystemError(errno, "write") }
        Glibc.shutdown(peer, CInt(MR_SHUT_WR))
        var received = Reception.nothing
        var end = driver.clock + 1_000_000_000
        repeat {
            try driver.wait(until: end)
            while let completion = driver.next() {
                switch completion.event {
                case .received where received == .nothing:
                    guard completion.event.receivedBytes?.elementsEqual("x".utf8) == true else {
                        return .nothing
                    }
                    received = .withoutEnd
                    end = driver.clock + endTime
                case .endOfStream where received == .withoutEnd: return .whole
                case .failed(_, let error): throw error
                default: return .nothing
                }
            }
        } while driver.clock < end
        return received
    }

    /// Receives one datagram. Linux before 6.0 has the operation, but refuses a multishot one.
    private static func receivesADatagram(_ driver: any Driver) throws(SystemError) -> Bool {
        let peer = try start(
            .receiveDatagrams, on: driver, Token(slot: 1, generation: 1), MR_SOCK_DGRAM)
        defer { Glibc.close(peer) }
        guard Glibc.write(peer, "x", 1) == 1 else { throw SystemError(errno, "write") }
        let end = driver.clock + 1_000_000_000
        repeat {
            try driver.wait(until: end)
            while let completion = driver.next() {
                switch completion.event {
                case .datagram(let datagram):
                    return datagram.pointee.bytes.elementsEqual("x".utf8)
                case .failed(_, let error): throw error
                default: return false
                }
            }
        } while driver.clock < end
        return false
    }

    /// Starts an operation on one end of a new pair of sockets, and returns the other end. The
    /// driver closes its own end when it is shut down.
    private static func start(
        _ operation: Operation, on driver: any Driver, _ token: Token, _ type: some BinaryInteger
    ) throws(SystemError) -> CInt {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(type) | CInt(MR_SOCK_CLOEXEC), 0, &ends) == 0 else {
            throw SystemError(errno, "socketpair")
        }
        driver.attach(Descriptor(ends[0]), as: token)
        driver.submit(operation, for: token)
        driver.flushSubmissions()
        return ends[1]
    }
}
