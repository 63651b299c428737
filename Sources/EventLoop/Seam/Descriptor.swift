/// A plain, non-blocking file descriptor, the only form in which a descriptor crosses the seam.
@usableFromInline
package struct Descriptor: Hashable, Sendable {
    @usableFromInline package let number: CInt

    @inlinable package init(_ number: CInt) { self.number = number }
}
