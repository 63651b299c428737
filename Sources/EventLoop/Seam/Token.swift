/// Names one life of one slot: never a descriptor, whose number the kernel reuses at once.
///
/// A completion of an earlier life carries an older generation and is dropped. In a completion
/// backend's 64 bits of user data it takes 24 bits of slot and 32 of generation, which leaves 8 for
/// the kind of operation.
@usableFromInline
package struct Token: Hashable, Sendable {
    @usableFromInline package let slot: UInt32
    @usableFromInline package let generation: UInt32

    /// Slots are numbered below this.
    package static let slotLimit: UInt32 = 1 << 24

    @inlinable package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Both in one word, for a kernel's user data.
    @inlinable package var word: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    @inlinable package init(word: UInt64) {
        slot = UInt32(truncatingIfNeeded: word)
        generation = UInt32(truncatingIfNeeded: word >> 32)
    }
}
