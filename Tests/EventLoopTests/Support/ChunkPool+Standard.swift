@testable import MillraceEventLoop

extension ChunkPool {
    /// A chunk of the size that the pool keeps.
    func takeStandard() -> UnsafeMutablePointer<Chunk> { take(capacity: Chunk.standardCapacity) }
}
