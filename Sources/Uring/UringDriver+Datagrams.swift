internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// Datagrams: a multishot receive into separate buffers, so that streams and datagrams do not
/// starve each other. Each buffer holds the largest datagram with its sender.
extension UringDriver {
    func armDatagrams(_ entry: UnsafeMutablePointer<UringEntry>) {
        let result = mr_open_datagram_buffers(ring)
        guard result >= 0 else {
            let error = SystemError(-result, "io_uring_register")
            ready.append(.completion(lastWord(entry, .failed(.datagrams, error))))
            return
        }
        mr_prepare_datagrams(
            ring, submission(), entry.pointee.descriptor,
            UringKind.datagrams.userData(entry.pointee.token))
        entry.pointee.state.insert(.datagramsArmed)
        inFlight += 1
    }

    /// Handles a completion of a datagram receive. On Linux up to 6.18 at least, an empty datagram
    /// ends the operation: without arming it again, no datagram would be received.
    func completeDatagram(_ token: Token, _ result: Int32, _ flags: UInt32) -> Completion? {
        let more = flags & UInt32(MR_CQE_MORE) != 0
        if !more { inFlight -= 1 }
        guard let entry = entries.find(token) else { return dropDatagram(flags) }
        if !more { entry.pointee.state.remove(.datagramsArmed) }
        if entry.pointee.state.contains(.closing) {
            _ = dropDatagram(flags)
            closeIfIdle(entry)
            return nil
        }
        if result >= 0, let completion = lendDatagram(token, result, flags) {
            if !more { interrupted(entry, .datagrams) }
            return completion
        }
        _ = dropDatagram(flags)
        guard !more else { return nil }
        let number = -result
        if entry.pointee.state.contains(.stopping) {
            stopped(entry, .datagrams)
        } else if number == ENOBUFS {
            counters.bufferStarvations.add()
            queueForBuffer(entry)
        } else if number <= 0 || number == EAGAIN || DatagramError.isPassing(number) {
            interrupted(entry, .datagrams)
        } else {
            return lastWord(entry, .failed(.datagrams, SystemError(number, "recvmsg")))
        }
        return nil
    }

    private func lendDatagram(_ token: Token, _ result: Int32, _ flags: UInt32) -> Completion? {
        guard flags & UInt32(MR_CQE_BUFFER) != 0 else { return nil }
        let index = flags >> UInt32(MR_CQE_BUFFER_SHIFT)
        var datagram = mr_received()
        guard mr_read_datagram(ring, index, result, &datagram) else { return nil }
        lentBuffer = Int32(bitPattern: index)
        isDatagramLent = true
        lentDatagram.initialize(
            to: ReceivedDatagram(
                bytes: UnsafeRawBufferPointer(start: datagram.bytes, count: datagram.length),
                sender: UnsafeRawBufferPointer(
                    start: datagram.sender, count: datagram.sender_length),
                isTruncated: datagram.is_truncated, segmentSize: datagram.segment_size))
        return Completion(token, .datagram(UnsafePointer(lentDatagram)))
    }

    private func dropDatagram(_ flags: UInt32) -> Completion? {
        guard flags & UInt32(MR_CQE_BUFFER) != 0 else { return nil }
        mr_give_datagram_buffer(ring, flags >> UInt32(MR_CQE_BUFFER_SHIFT))
        return nil
    }
}
