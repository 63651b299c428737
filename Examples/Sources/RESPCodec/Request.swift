// A request as the parser lends it: places in the bytes that came, so that it costs no allocation
// and no reference counting. That takes pointers, and who gets it must not keep it.

/// A complete request, lent by the parser: valid inside `withRequest`.
@frozen
public struct Request {
    /// Where an argument is.
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
    /// Arguments, the command's name among them.
    public let count: Int

    /// Of no arguments.
    public static var none: Request {
        Request(bytes: nil, parts: UnsafePointer(bitPattern: 8)!, count: 0)
    }

    init(bytes: UnsafeRawPointer?, parts: UnsafePointer<Part>, count: Int) {
        self.bytes = bytes
        self.parts = parts
        self.count = count
    }

    /// One argument, the name being the first.
    @inlinable
    public subscript(_ index: Int) -> UnsafeRawBufferPointer {
        precondition(0 <= index && index < count, "no such argument")
        let part = parts[index]
        return UnsafeRawBufferPointer(start: bytes.map { $0 + part.start }, count: part.count)
    }
}

/// The places of a request's arguments: memory that is made once and used again.
@usableFromInline
struct Parts: ~Copyable {
    private static let usual = 8
    /// Arguments whose places are kept for the next request.
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

    /// Makes room for so many, which may then be written to `base`.
    @inline(__always)
    mutating func reserve(_ wanted: Int) {
        count = 0
        if wanted > capacity { resize(to: wanted) }
    }

    /// For who wrote so many.
    @inline(__always)
    mutating func set(count: Int) { self.count = count }

    /// Memory that one long request needed is given back.
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
