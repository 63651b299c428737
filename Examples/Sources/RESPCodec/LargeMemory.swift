import Glibc

/// Memory for values and replies of any size.
package enum LargeMemory {
    /// The size, in bytes, from which the kernel is asked for huge pages (MADV_HUGEPAGE). For
    /// hundreds of MiB, page faults take longer than copying the bytes.
    private static let threshold = 4 << 20
    private static let page = 4096

    @inline(__always)
    package static func allocate(_ count: Int) -> UnsafeMutableRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        if count >= threshold { advise(memory) }
        return memory
    }

    @inline(never)
    private static func advise(_ memory: UnsafeMutableRawBufferPointer) {
        guard let block = memory.baseAddress else { return }
        let start = block.alignedUp(toMultipleOf: page)
        // Without huge pages in the kernel, the call fails and does no harm.
        madvise(start, (block + memory.count - start) & -page, MADV_HUGEPAGE)
    }
}
