/// The errno of a token's failed send, in two bytes beside the driver's other state. The kernel
/// reports it once. The driver reports it as the answer to a send. It reports it again at the end
/// of the receive stream, where the kernel reports no error.
@usableFromInline
package struct SendError {
    /// The errno (below 4096) and the `told` bit.
    @usableFromInline var stored: UInt16 = 0

    private static let told: UInt16 = 1 << 15

    @inlinable package init() {}

    @inlinable package var isNone: Bool { stored == 0 }

    /// Stores an error that no send has been answered with yet.
    package mutating func note(_ number: Int32) {
        stored = UInt16(truncatingIfNeeded: number) & ~Self.told
    }

    /// Stores an error that a send is answered with now.
    package mutating func noteTold(_ number: Int32) {
        note(number)
        stored |= Self.told
    }

    /// Returns the error for the next send's answer, once; nil if there is none.
    package mutating func take() -> SystemError? {
        guard stored != 0, stored & Self.told == 0 else { return nil }
        stored |= Self.told
        return SystemError(Int32(stored & ~Self.told), "send")
    }

    /// The event that reports the end of the stream.
    package var endOfStream: Event {
        if isNone { return .endOfStream }
        return .failed(.receive, SystemError(Int32(stored & ~Self.told), "send"))
    }
}
