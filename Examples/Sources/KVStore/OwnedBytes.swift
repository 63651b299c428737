import RESPCodec

/// Bytes in their own memory, changed in place. An array in a class's property is retained and
/// released at each use, which costs more than copying a short value.
struct OwnedBytes: ~Copyable {
    private var memory: UnsafeMutableRawBufferPointer
    private(set) var count: Int

    init(_ bytes: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)) {
        memory = bytes.count == 0 ? Self.nothing : LargeMemory.allocate(bytes.count)
        memory.copyMemory(from: bytes)
        count = bytes.count
    }

    deinit { memory.deallocate() }

    private static var nothing: UnsafeMutableRawBufferPointer { .init(start: nil, count: 0) }

    /// The bytes, valid until the next change.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: memory.baseAddress, count: count)
    }

    /// Replaces the bytes, in the same memory unless that is too small or far too large.
    @inline(__always)
    mutating func replace(with bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= memory.count, memory.count <= 2 * bytes.count + 64 else {
            self = OwnedBytes(bytes)
            return
        }
        memory.copyMemory(from: bytes)
        count = bytes.count
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if memory.count - count < bytes.count { grow(bytes.count) }
        UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    private mutating func grow(_ more: Int) {
        let larger = LargeMemory.allocate(max(2 * memory.count, count + more))
        larger.copyMemory(from: bytes)
        memory.deallocate()
        memory = larger
    }
}
