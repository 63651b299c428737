/// Names one life of one slot: never a descriptor, whose number the kernel reuses at once.
///
/// A completion of an earlier life carries an older generation and is dropped. In a completion
/// backend's 64 bits of user data it takes 24 bits of slot and 32 of generation, which leaves 8 for
/// the kind of operation.
@usableFromInline
package struct Token: Hashable, Sendable {
    /// Both in one word, for a kernel's user data.
    @usableFromInline package let word: UInt64

    @inlinable package var slot: UInt32 { UInt32(truncatingIfNeeded: word) }
    @inlinable package var generation: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }

    /// Slots are numbered below this.
    @inlinable package static var slotLimit: UInt32 { 1 << 24 }

    @inlinable package init(slot: UInt32, generation: UInt32) {
        word = UInt64(generation) << 32 | UInt64(slot)
    }

    @inlinable package init(word: UInt64) { self.word = word }

    /// Nobody's: its slot is never given.
    @inlinable package static var none: Token { Token(word: .max) }

    /// The same slot's next life.
    package var next: Token { Token(slot: slot, generation: generation &+ 1) }
}
