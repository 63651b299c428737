import Glibc

/// Memory for values and replies of any size.
package enum LargeMemory {
    /// Above it, in bytes, the kernel is asked for huge pages: hundreds of MiB take longer to be
    /// given their pages than to be copied.
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
        // Where there are none nothing is lost.
        madvise(start, (block + memory.count - start) & -page, MADV_HUGEPAGE)
    }
}
