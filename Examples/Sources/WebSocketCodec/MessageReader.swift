// Incremental reader of messages. It takes frames from lent bytes as they arrive, also in parts,
// and copies each byte of a payload once: out of the lent bytes, to remove its mask. The result
// does not depend on where the bytes are cut.

public struct MessageReader: Sendable {
    /// Limits on the input that a peer can make the reader keep or work on.
    public struct Limits: Sendable {
        /// The longest payload of a frame, in bytes; a longer one is refused at its header.
        public var frame: Int
        /// The longest message, in bytes, over all of its frames.
        public var message: Int
        /// The largest number of frames of one message. Empty ones count too: they cost time.
        public var fragments: Int

        public init(frame: Int = 1 << 20, message: Int = 1 << 20, fragments: Int = 1024) {
            self.frame = frame
            self.message = message
            self.fragments = fragments
        }
    }

    public enum Event: Sendable, Equatable {
        /// A whole message, in `message`.
        case text
        case binary
        /// A control frame; its payload is in `control`.
        case ping
        case pong
        /// The peer's close frame. Its reason is in `control`. Input after it is dropped.
        case close(CloseCode?)
        /// The peer broke a rule. The caller sends a close frame with this code and closes. Input
        /// after it is dropped.
        case failed(CloseCode)
    }

    /// The result of one call of `read(_:)`.
    public struct Step: Sendable, Equatable {
        /// The number of bytes that the caller drops.
        public var consumed: Int
        /// nil if the next event needs more bytes. Otherwise the caller calls again with the rest.
        public var event: Event?

        public init(consumed: Int, event: Event? = nil) {
            self.consumed = consumed
            self.event = event
        }
    }

    private enum State {
        case header
        case payload(Opcode, isFinal: Bool)
        case over
    }

    /// The message of the event `text` or `binary`, until the next call of `read(_:)`.
    public private(set) var message: [UInt8] = []
    /// The payload of a control frame, without the code of a close, until the next call.
    public private(set) var control: [UInt8] = []

    private let sender: Sender
    private let limits: Limits
    private var state = State.header
    /// The bytes of the current frame's payload that have not arrived.
    private var missing = 0
    private var mask = Mask(0)
    /// The kind of the message that has begun; nil between messages.
    private var kind: Opcode?
    private var fragments = 0
    private var validator = TextValidator()
    private var isDelivered = false

    /// The capacity in bytes that an idle reader keeps for its next message.
    private static let keptCapacity = 1024

    /// Creates a reader of the frames that `sender` sends.
    public init(from sender: Sender = .client, limits: Limits = Limits()) {
        self.sender = sender
        self.limits = limits
    }

    /// Reads as far as the next event. `bytes` begin with the first byte that earlier calls did not
    /// consume: at most a part of a header stays.
    public mutating func read(_ bytes: UnsafeRawBufferPointer) -> Step {
        if isDelivered { forgetMessage() }
        var consumed = 0
        while true {
            switch state {
            case .over: return Step(consumed: bytes.count)
            case .header:
                let rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
                switch FrameHeader.parse(rest, from: sender) {
                case .needsMore: return Step(consumed: consumed)
                case .refused: return fail(.protocolError, bytes)
                case .complete(let header, let count):
                    consumed &+= count
                    if let code = begin(header) { return fail(code, bytes) }
                }
            case .payload(let opcode, let isFinal):
                let count = min(missing, bytes.count &- consumed)
                let piece = UnsafeRawBufferPointer(
                    rebasing: bytes[consumed..<consumed &+ count])
                consumed &+= count
                missing &-= count
                guard take(piece, opcode) else { return fail(.invalidData, bytes) }
                guard missing == 0 else { return Step(consumed: consumed) }
                state = .header
                switch end(opcode, isFinal) {
                case nil: break
                case .failed(let code): return fail(code, bytes)
                case .close(let code): return finish(.close(code), bytes)
                case let event: return Step(consumed: consumed, event: event)
                }
            }
        }
    }

    /// Begins a frame. Returns a code if the frame must not come now or is too big.
    private mutating func begin(_ header: FrameHeader) -> CloseCode? {
        if header.opcode.isControl {
            control.removeAll(keepingCapacity: true)
        } else {
            // A message begins when none has begun, and a continuation continues one.
            guard (kind == nil) == (header.opcode != .continuation) else { return .protocolError }
            guard header.length <= limits.frame, header.length <= limits.message - message.count
            else { return .tooBig }
            if kind == nil { kind = header.opcode }
            fragments &+= 1
            guard fragments <= limits.fragments else { return .policyViolation }
        }
        missing = header.length
        mask = Mask(header.maskingKey)
        state = .payload(header.opcode, isFinal: header.isFinal)
        return nil
    }

    /// Stores a part of a payload without its mask. Returns false if a text is not valid.
    private mutating func take(_ piece: UnsafeRawBufferPointer, _ opcode: Opcode) -> Bool {
        guard !piece.isEmpty else { return true }
        guard !opcode.isControl else {
            Self.append(piece, &mask, to: &control)
            return true
        }
        let start = message.count
        Self.append(piece, &mask, to: &message)
        guard kind == .text else { return true }
        var validator = validator
        defer { self.validator = validator }
        return message.withUnsafeBytes {
            validator.accept(UnsafeRawBufferPointer(rebasing: $0[start...]))
        }
    }

    private static func append(
        _ piece: UnsafeRawBufferPointer, _ mask: inout Mask, to bytes: inout [UInt8]
    ) {
        let start = bytes.count
        bytes.append(contentsOf: piece)
        bytes.withUnsafeMutableBytes {
            mask.remove(from: UnsafeMutableRawBufferPointer(rebasing: $0[start...]))
        }
    }

    /// Ends a frame. Returns nil for a fragment that is not the last one.
    private mutating func end(_ opcode: Opcode, _ isFinal: Bool) -> Event? {
        switch opcode {
        case .ping: return .ping
        case .pong: return .pong
        case .close: return closeEvent()
        case .continuation, .text, .binary:
            guard isFinal else { return nil }
            // A text must not end within a character.
            guard validator.isComplete else { return .failed(.invalidData) }
            isDelivered = true
            return kind == .text ? .text : .binary
        }
    }

    /// Reads the payload of a close frame: nothing, or a code and a reason in UTF-8.
    private mutating func closeEvent() -> Event {
        guard !control.isEmpty else { return .close(nil) }
        guard control.count >= 2 else { return .failed(.protocolError) }
        let code = CloseCode(rawValue: UInt16(control[0]) << 8 | UInt16(control[1]))
        guard code.isAllowedInFrame else { return .failed(.protocolError) }
        control.removeFirst(2)
        var reason = TextValidator()
        let isText = control.withUnsafeBytes { reason.accept($0) } && reason.isComplete
        return isText ? .close(code) : .failed(.invalidData)
    }

    private mutating func fail(_ code: CloseCode, _ bytes: UnsafeRawBufferPointer) -> Step {
        finish(.failed(code), bytes)
    }

    /// Ends the reading, with all bytes consumed.
    private mutating func finish(_ event: Event, _ bytes: UnsafeRawBufferPointer) -> Step {
        state = .over
        message = []
        return Step(consumed: bytes.count, event: event)
    }

    private mutating func forgetMessage() {
        message.removeAll(keepingCapacity: message.capacity <= Self.keptCapacity)
        kind = nil
        fragments = 0
        isDelivered = false
    }
}
