/// What a send of one token has met: an errno, kept in two bytes beside what else a driver knows of
/// it. The kernel reports it once; it is told as the answer to a send, and again as what ended the
/// stream of receives, which the kernel reports as a mere end.
@usableFromInline
package struct SendError {
    /// Errnos are below 4096.
    @usableFromInline var stored: UInt16 = 0

    private static let told: UInt16 = 1 << 15

    @inlinable package init() {}

    @inlinable package var isNone: Bool { stored == 0 }

    /// Met; no send has been answered with it yet.
    package mutating func note(_ number: Int32) {
        stored = UInt16(truncatingIfNeeded: number) & ~Self.told
    }

    /// Met, and told at once.
    package mutating func noteTold(_ number: Int32) {
        note(number)
        stored |= Self.told
    }

    /// What the next send is to be answered with, once; nil if there is nothing.
    package mutating func take() -> SystemError? {
        guard stored != 0, stored & Self.told == 0 else { return nil }
        stored |= Self.told
        return SystemError(Int32(stored & ~Self.told), "send")
    }

    /// The event that an end of the stream is.
    package var endOfStream: Event {
        if isNone { return .endOfStream }
        return .failed(.receive, SystemError(Int32(stored & ~Self.told), "send"))
    }
}
