/// The reference to a record in the loop's code and the public API, with names for its fields.
///
/// Each accessor compiles to the access itself: an echo needs as many instructions as through
/// `pointee`.
@usableFromInline
package typealias ConnectionReference = UnsafeMutablePointer<ConnectionRecord>

extension UnsafeMutablePointer<ConnectionRecord> {
    @usableFromInline package internal(set) var token: Token {
        @inlinable @inline(__always) get { pointee.token }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.token }
    }
    @usableFromInline package internal(set) var flags: ConnectionFlags {
        @inlinable @inline(__always) get { pointee.flags }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.flags }
    }
    @usableFromInline package internal(set) var loop: Unmanaged<Loop> {
        @inlinable @inline(__always) get { pointee.loop }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.loop }
    }
    @usableFromInline var lastReceived: Nanoseconds {
        @inlinable @inline(__always) get { pointee.lastReceived }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.lastReceived }
    }
    @usableFromInline var lastSent: Nanoseconds {
        @inlinable @inline(__always) get { pointee.lastSent }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.lastSent }
    }
    @inlinable package var inbound: InboundBuffer {
        @inlinable @inline(__always) _read { yield pointee.inbound }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.inbound }
    }
    @usableFromInline package internal(set) var outbound: OutboundQueue {
        @inlinable @inline(__always) _read { yield pointee.outbound }
        @inlinable @inline(__always) nonmutating _modify { yield &pointee.outbound }
    }
    @usableFromInline package internal(set) var state: ConnectionState {
        @inlinable @inline(__always) get { pointee.state }
        nonmutating set { pointee.state = newValue }
    }

    /// The part of `flags` that holds the reasons for a pause.
    package internal(set) var pauses: PauseReasons {
        get { PauseReasons(rawValue: flags.rawValue).intersection(.all) }
        nonmutating set {
            flags.subtract(.paused(.all))
            flags.formUnion(.paused(newValue))
        }
    }

    var listener: UInt16 {
        @inline(__always) get { pointee.listener }
        @inline(__always) nonmutating _modify { yield &pointee.listener }
    }
    package internal(set) var details: Unmanaged<ConnectionDetails>? {
        @inline(__always) get { pointee.details }
        @inline(__always) nonmutating _modify { yield &pointee.details }
    }
    var lastProgress: Nanoseconds {
        @inline(__always) get { pointee.lastProgress }
        @inline(__always) nonmutating _modify { yield &pointee.lastProgress }
    }

    // MARK: Fields that a request seldom uses

    var rest: UnsafeMutablePointer<ConnectionRecord.Rest> {
        @inline(__always) get { RecordChunks.rest(of: self) }
    }
    package internal(set) var descriptor: Descriptor {
        @inline(__always) get { rest.pointee.descriptor }
        @inline(__always) nonmutating _modify { yield &rest.pointee.descriptor }
    }
    var timer: TimerQueue<TimerAction>.ID {
        @inline(__always) get { rest.pointee.timer }
        @inline(__always) nonmutating _modify { yield &rest.pointee.timer }
    }
    package internal(set) var discarded: Int {
        @inline(__always) get { rest.pointee.discarded }
        @inline(__always) nonmutating _modify { yield &rest.pointee.discarded }
    }
    var phaseStart: Nanoseconds {
        @inline(__always) get { rest.pointee.phaseStart }
        @inline(__always) nonmutating _modify { yield &rest.pointee.phaseStart }
    }
    /// The number of bytes sent, counted at least while a `sent` closure waits. The marks of
    /// `promises` refer to it.
    var sentTotal: Int {
        get { details?._withUnsafeGuaranteedRef { $0.sentTotal } ?? 0 }
        nonmutating set { details?._withUnsafeGuaranteedRef { $0.sentTotal = newValue } }
    }
    /// The unread input that the handler waits for, above the inbound cap. Valid while
    /// `.expectingInput`.
    var expectedInput: Int {
        get { details?._withUnsafeGuaranteedRef { $0.expectedInput } ?? 0 }
        nonmutating set { details?._withUnsafeGuaranteedRef { $0.expectedInput = newValue } }
    }

    // Computed in this module: in others, a set of flags is compared by its witness table.
    package var isWritable: Bool { state == .open && !flags.contains(.congested) }
    package var isDatagram: Bool { flags.contains(.datagrams) }

    /// Whether the handler's part is over, or will be when the running callback returns.
    package var isOver: Bool { state == .lingering || state == .closing }
}
