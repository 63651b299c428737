/// A name for one use of one slot, never a descriptor, since the kernel reuses descriptor numbers
/// at once.
///
/// A completion for an earlier use carries an older generation and is dropped. A completion backend
/// has 64 bits of user data: 24 bits of slot, 32 of generation, and 8 for the kind of operation.
@usableFromInline
package struct Token: Hashable, Sendable {
    /// Slot and generation in one word, for a kernel's user data.
    @usableFromInline package let word: UInt64

    @inlinable package var slot: UInt32 { UInt32(truncatingIfNeeded: word) }
    @inlinable package var generation: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }

    /// Slots are numbered below this.
    @inlinable package static var slotLimit: UInt32 { 1 << 24 }

    @inlinable package init(slot: UInt32, generation: UInt32) {
        word = UInt64(generation) << 32 | UInt64(slot)
    }

    @inlinable package init(word: UInt64) { self.word = word }

    /// A token that names no slot: this slot number is never assigned.
    @inlinable package static var none: Token { Token(word: .max) }

    /// The token of the same slot's next use.
    package var next: Token { Token(slot: slot, generation: generation &+ 1) }
}
