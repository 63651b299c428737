/// The client's side of TLS, between the test's bytes and its socket.
import CMillraceTLS
import MillraceEventLoop
import MillraceTestSupport
import NetAPI

/// One connection's TLS. One thread may send while another receives.
final class ClientTLS: Sendable {
    // Unchecked: used under the lock.
    private struct State: @unchecked Sendable {
        var tls: OpaquePointer
        /// Sealed bytes that the socket has not taken.
        var unsent: [UInt8] = []
        /// Opened bytes that the test has not received.
        var opened: ArraySlice<UInt8> = []
        var isEstablished = false
        var hasEnded = false
        var failure: String?
        /// The end of the connection, which a wait has seen.
        var seenEnd: StreamEnd?
    }

    private let state: Monitor<State>
    private let context: Context

    // Unchecked: the library's object may be used from several threads.
    private final class Context: @unchecked Sendable {
        let pointer: OpaquePointer
        init() throws {
            guard let pointer = mr_tls_context_new(false, nil) else {
                throw SystemFailure("mr_tls_context_new", 0)
            }
            self.pointer = pointer
            mr_tls_verify(pointer, false, false, false)
        }
        deinit { SSL_CTX_free(pointer) }
    }

    init() throws {
        context = try Context()
        guard let tls = mr_tls_new(context.pointer, false) else {
            throw SystemFailure("mr_tls_new", 0)
        }
        state = Monitor(State(tls: tls))
    }

    deinit { mr_tls_free(state.withLock { $0.tls }) }

    var isEstablished: Bool { state.withLock { $0.isEstablished } }
    var failure: String? { state.withLock { $0.failure } }
    var hasEnded: Bool { state.withLock { $0.hasEnded } }
    var seenEnd: StreamEnd? {
        get { state.withLock { $0.seenEnd } }
        set { state.withLock { $0.seenEnd = newValue } }
    }
    var hasOpened: Bool { state.withLock { !$0.opened.isEmpty } }

    /// Takes bytes of the socket.
    func take(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            var rest = bytes[...]
            var plain = [UInt8](repeating: 0, count: 65_536)
            while !state.hasEnded && state.failure == nil {
                let room = state.isEstablished ? plain.count : 0
                let result = withUnsafeMutablePointer(to: &state.unsent) { unsent in
                    mr_tls_open(
                        state.tls,
                        rest.isEmpty ? nil : UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                        rest.count, &plain, room, keep,
                        unsent)
                }
                rest = rest.dropFirst(result.taken)
                state.opened += plain.prefix(result.plain)
                switch result.event {
                case mr_tls_established: state.isEstablished = true
                case mr_tls_ended: state.hasEnded = true
                case mr_tls_failed: state.failure = String(cString: mr_tls_reason(state.tls))
                default: if result.plain < plain.count && rest.isEmpty { return }
                }
            }
        }
    }

    /// Returns opened bytes.
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        state.withLock { state in
            let part = state.opened.prefix(buffer.count)
            buffer.copyBytes(from: part)
            state.opened = state.opened.dropFirst(part.count)
            return part.count
        }
    }

    /// Seals bytes for `withUnsent`.
    func seal(_ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLock { state in
            withUnsafeMutablePointer(to: &state.unsent) { unsent in
                mr_tls_seal(state.tls, bytes.baseAddress!, bytes.count, keep, unsent) == 1
            }
        }
    }

    func sealEnd() {
        state.withLock { state in
            _ = withUnsafeMutablePointer(to: &state.unsent) { mr_tls_end(state.tls, keep, $0) }
        }
    }

    /// Changes our keys and asks for the same; sent with the next bytes.
    func updateKeys() {
        state.withLock { state in
            _ = withUnsafeMutablePointer(to: &state.unsent) {
                mr_tls_update_keys(state.tls, keep, $0)
            }
        }
    }

    /// Gives the sealed bytes to `send`, which returns how many it took. Returns how many are left.
    func withUnsent(_ send: (UnsafeRawBufferPointer) throws -> Int) rethrows -> Int {
        try state.withLock { state in
            guard !state.unsent.isEmpty else { return 0 }
            let count = try state.unsent.withUnsafeBytes { try send($0) }
            state.unsent.removeFirst(count)
            return state.unsent.count
        }
    }
}

private let keep: mr_tls_output = { object, bytes, count in
    object.assumingMemoryBound(to: [UInt8].self).pointee +=
        UnsafeRawBufferPointer(start: bytes, count: count)
}
