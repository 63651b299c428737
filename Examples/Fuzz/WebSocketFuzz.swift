// The entry point of the fuzzer. Frames must give the same events whole, byte by byte and in two
// pieces. Scripts/fuzz builds this file and the reader into one module.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    // Nearly every random frame would be refused because it has no mask. So the first byte decides
    // which endpoint sends.
    let sender = bytes.first.map { $0 & 1 == 0 } ?? true ? Sender.server : .client
    let frames = Array(bytes.dropFirst())
    let whole = events(frames, cuts: [], sender)
    let middle = frames.isEmpty ? 0 : Int(frames[0]) % frames.count
    precondition(whole == events(frames, cuts: [middle], sender), "in two pieces")
    precondition(whole == events(frames, cuts: Array(frames.indices), sender), "byte by byte")
    return 0
}

/// An event with the payload that it had.
private struct Seen: Equatable {
    let event: MessageReader.Event
    let payload: [UInt8]
}

/// Returns the events of frames that are cut at the given places, which are in order.
private func events(_ frames: [UInt8], cuts: [Int], _ sender: Sender) -> [Seen] {
    // The limits are small, so that the fuzzer reaches them.
    let limits = MessageReader.Limits(frame: 200, message: 300, fragments: 5)
    var reader = MessageReader(from: sender, limits: limits)
    var (seen, unread, start): ([Seen], [UInt8], Int) = ([], [], 0)
    for end in cuts + [frames.count] {
        unread += frames[start..<end]
        start = end
        while !unread.isEmpty {
            let step = unread.withUnsafeBytes { reader.read($0) }
            unread.removeFirst(step.consumed)
            guard let event = step.event else { break }
            let isMessage = event == .text || event == .binary
            let payload = isMessage ? reader.message : reader.control
            precondition(payload.count <= (isMessage ? limits.message : 125), "above a limit")
            if event == .text {
                precondition(String(validating: payload, as: UTF8.self) != nil, "no UTF-8")
            }
            seen.append(Seen(event: event, payload: payload))
        }
        precondition(unread.count < 14, "\(unread.count) bytes unread")
    }
    return seen
}
