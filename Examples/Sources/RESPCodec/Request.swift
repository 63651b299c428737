// A request that the parser lends: positions in the received bytes, without allocation and without
// reference counting. The positions need pointers, so a caller must not keep the request.

/// A complete request, lent by the parser and valid inside `withRequest`.
@frozen
public struct Request {
    /// The position of an argument.
    @frozen
    public struct Part {
        @usableFromInline let start: Int
        @usableFromInline let count: Int

        init(start: Int, count: Int) {
            self.start = start
            self.count = count
        }
    }

    @usableFromInline let bytes: UnsafeRawPointer?
    @usableFromInline let parts: UnsafePointer<Part>
    /// The number of arguments, including the command's name.
    public let count: Int

    /// A request of no arguments.
    public static var none: Request {
        Request(bytes: nil, parts: UnsafePointer(bitPattern: 8)!, count: 0)
    }

    init(bytes: UnsafeRawPointer?, parts: UnsafePointer<Part>, count: Int) {
        self.bytes = bytes
        self.parts = parts
        self.count = count
    }

    /// Returns one argument; the first is the command's name.
    @inlinable
    public subscript(_ index: Int) -> UnsafeRawBufferPointer {
        precondition(0 <= index && index < count, "no such argument")
        let part = parts[index]
        return UnsafeRawBufferPointer(start: bytes.map { $0 + part.start }, count: part.count)
    }
}

/// The positions of a request's arguments, in memory that is allocated once and reused.
@usableFromInline
struct Parts: ~Copyable {
    private static let usual = 8
    /// The number of arguments for which memory is kept for the next request.
    @usableFromInline static let kept = 1024

    private(set) var base: UnsafeMutablePointer<Request.Part>
    private(set) var count = 0
    private(set) var capacity = usual

    init() { base = .allocate(capacity: Self.usual) }

    deinit { base.deallocate() }

    mutating func append(_ part: Request.Part) {
        if count == capacity { resize(to: capacity * 2) }
        base[count] = part
        count += 1
    }

    /// Makes room for `wanted` positions, which the caller may then write to `base`.
    @inline(__always)
    mutating func reserve(_ wanted: Int) {
        count = 0
        if wanted > capacity { resize(to: wanted) }
    }

    /// Sets the number of positions that the caller has written.
    @inline(__always)
    mutating func set(count: Int) { self.count = count }

    /// Removes all positions, and frees memory that one long request needed.
    mutating func removeAll() {
        count = 0
        if capacity > Self.kept { resize(to: Self.usual) }
    }

    private mutating func resize(to capacity: Int) {
        let other = UnsafeMutablePointer<Request.Part>.allocate(capacity: capacity)
        other.update(from: base, count: count)
        base.deallocate()
        base = other
        self.capacity = capacity
    }
}
