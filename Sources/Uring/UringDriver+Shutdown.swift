internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// The end of a driver: every operation is cancelled, and the ring's memory is freed only when the
/// kernel no longer uses it.
extension UringDriver {
    package func shutDown() {
        guard isOpen else { return }
        isOpen = false
        giveBackLent()
        entries.forEachAttached { $0.pointee.state = [.closing] }
        forgetDropped()
        // A kernel that accepted nothing for a while may do so now.
        failure = nil
        mr_prepare_cancel_all(
            submission(), UringKind.cancelAll.userData(Token(slot: 0, generation: 0)))
        awaitOperations()
        entries.forEachAttached { Glibc.close($0.pointee.descriptor) }
        entries.removeAll()
        // Otherwise the memory leaks, because the kernel may still write to it.
        if inFlight == 0 { mr_ring_close(ring) }
        hotBuffer = LazyMemory(byteCount: Int(Self.bufferSize))
        eventWaker = nil
    }

    /// The time for cancelled operations, which end at once, in a kernel that does not end them.
    private static var patience: Nanoseconds { 1_000_000_000 }

    /// Waits for the end of every operation. The kernel runs as much deferred work in an entry as
    /// completions are wanted, but at least 20 pieces (Linux 6.13). With one wanted, 10,000
    /// operations would need 500 entries.
    private func awaitOperations() {
        let end = clock + Self.patience
        while inFlight > 0 && clock < end {
            counters.kernelEntries.add()
            let wanted = min(UInt32(clamping: inFlight), sizes.completions)
            let result = mr_enter(ring, wanted, 10_000_000, 0)
            guard !Self.isLasting(result) else { return }
            // Short of memory, the kernel returns at once.
            if result < 0 && mr_peek(ring) == nil { usleep(10_000) }
            while let entry = mr_peek(ring) {
                drop(entry.pointee.user_data, entry.pointee.flags)
                mr_seen(ring)
            }
        }
    }

    private func drop(_ userData: UInt64, _ flags: UInt32) {
        let kind = UringKind(rawValue: UringKind.split(userData).kind)
        if kind?.isOperation == true && flags & UInt32(MR_CQE_MORE) == 0 { inFlight -= 1 }
    }
}
