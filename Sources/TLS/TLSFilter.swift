internal import CMillraceTLS
package import MillraceEventLoop
internal import NetAPI

/// One connection's TLS: the library's object between the wire's bytes and the handler's.
// Unchecked: used by one thread at a time, the loop's or for a step of the handshake the pool's.
package final class TLSFilter: StreamFilter, @unchecked Sendable {
    private let tls: OpaquePointer
    // Kept, since the library's callbacks use them during a handshake.
    private let contexts: AnyObject
    private let rules: Rules
    @exclusivity(unchecked) private var isEstablished = false
    @exclusivity(unchecked) private var sealed = 0
    /// A handshake's step on another thread; nil if none is running.
    @exclusivity(unchecked) private var step: HandshakeStep?
    /// Bytes behind a handshake that was finished on another thread.
    @exclusivity(unchecked) private var held: [UInt8] = []
    /// The name and address to which the connection was made.
    let peer: FilterPeer?
    @exclusivity(unchecked) private var knownInfo: KnownInfo?

    struct Rules {
        var isServer: Bool
        var startsSmall = false
        var acceptsUncleanEnd = false
        var usesThreads = false
        /// The peer's certificate is verified.
        var verifies: Bool
    }

    init(_ tls: OpaquePointer, _ rules: Rules, peer: FilterPeer? = nil, contexts: AnyObject) {
        self.tls = tls
        self.rules = rules
        self.peer = peer
        self.contexts = contexts
        mr_tls_set_owner(tls, Unmanaged.passUnretained(self).toOpaque())
        if rules.startsSmall { mr_tls_set_record_size(tls, Self.smallRecord) }
    }

    deinit {
        if !isEstablished, let peer { (contexts as? ClientContext)?.forget(peer) }
        mr_tls_free(tls)
    }

    /// The result of the handshake, read from the library once.
    var info: TLSInfo {
        if let knownInfo { return knownInfo.info }
        let info = TLSInfo(tls, verifies: rules.verifies)
        knownInfo = KnownInfo(info)
        return info
    }

    /// Apart, so that a connection whose handler never asks is smaller.
    private final class KnownInfo {
        let info: TLSInfo
        init(_ info: TLSInfo) { self.info = info }
    }

    private static var smallRecord: UInt32 { 1_400 }
    private static var smallBytes: Int { 65_536 }

    package func start(_ wire: WireOutput) {
        guard !rules.isServer else { return }
        _ = call(UnsafeRawBufferPointer(start: nil, count: 0), nil, 0, wire)
    }

    package func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer,
        _ wire: WireOutput
    ) -> Opened {
        if rules.usesThreads && !isEstablished { return openOnThread(sealed, wire) }
        if !held.isEmpty {
            let opened = openHeld(into: plain, wire)
            if opened.plain > 0 || opened.event != nil { return opened }
            // A part of a record, which the wire's bytes complete.
        }
        return opened(by: call(sealed, plain.baseAddress, plain.count, wire))
    }

    private func call(
        _ sealed: UnsafeRawBufferPointer, _ plain: UnsafeMutableRawPointer?, _ room: Int,
        _ wire: WireOutput
    ) -> mr_tls_opened {
        withUnsafePointer(to: wire) { wire in
            mr_tls_open(
                tls, sealed.baseAddress, sealed.count, plain, room, appendToWire,
                UnsafeMutableRawPointer(mutating: wire))
        }
    }

    private func opened(by result: mr_tls_opened) -> Opened {
        var opened = Opened()
        opened.taken = result.taken
        opened.plain = result.plain
        switch result.event {
        case mr_tls_established:
            isEstablished = true
            opened.event = .established
        case mr_tls_ended: opened.event = .ended
        case mr_tls_failed: opened.event = .failed(failure)
        default: break
        }
        return opened
    }

    package func seal(_ plain: UnsafeRawBufferPointer, _ wire: WireOutput) -> Sealed {
        guard let bytes = plain.baseAddress else { return .done }
        if rules.startsSmall { growRecords(plain.count) }
        let result = withUnsafePointer(to: wire) { wire in
            mr_tls_seal(
                tls, bytes, plain.count, appendToWire, UnsafeMutableRawPointer(mutating: wire))
        }
        switch result {
        case 1: return .done
        case 0: return .later
        default: return .failed(failure)
        }
    }

    /// Small records reach a page that is being loaded sooner, large ones cost less.
    private func growRecords(_ count: Int) {
        let isSmall = sealed < Self.smallBytes
        sealed += count
        if isSmall && sealed >= Self.smallBytes {
            mr_tls_set_record_size(tls, 0)
        }
    }

    package func sealEnd(_ wire: WireOutput) -> Sealed {
        let isSealed = withUnsafePointer(to: wire) { wire in
            mr_tls_end(tls, appendToWire, UnsafeMutableRawPointer(mutating: wire))
        }
        return isSealed ? .done : .later
    }

    package func cutOff() -> (any Error)? {
        if rules.acceptsUncleanEnd { return nil }
        return NetError(
            insecure: "the stream was cut off: the connection ended without close_notify",
            remedy: "set acceptsUncleanEnd if the protocol tells its own ends")
    }

    private var failure: NetError {
        let reason = String(cString: mr_tls_reason(tls))
        return NetError(insecure: reason, remedy: TLSRemedy.of(reason, peer))
    }

    // MARK: Handshakes on other threads

    private func openOnThread(_ sealed: UnsafeRawBufferPointer, _ wire: WireOutput) -> Opened {
        if let step {
            self.step = nil
            step.output.withUnsafeBytes { wire.append($0) }
            held = step.rest
            var opened = self.opened(by: step.result)
            // Of the bytes before.
            opened.taken = 0
            if opened.event != nil { return opened }
        }
        var opened = Opened()
        guard !sealed.isEmpty else { return opened }
        let next = HandshakeStep(tls, Array(sealed))
        step = next
        opened.taken = sealed.count
        // The step keeps the filter, whose object it uses, until it has run.
        opened.event = .working { next.run(for: self) }
        return opened
    }

    /// Opens what came in one piece with the end of the handshake.
    private func openHeld(
        into plain: UnsafeMutableRawBufferPointer, _ wire: WireOutput
    ) -> Opened {
        let bytes = held
        held = []
        var opened = bytes.withUnsafeBytes {
            self.opened(by: call($0, plain.baseAddress, plain.count, wire))
        }
        held = Array(bytes.dropFirst(opened.taken))
        opened.taken = 0
        return opened
    }
}

/// A step of a handshake: bytes of the peer in, our bytes out.
// Unchecked: used by one thread at a time, the loop's or the pool's.
private final class HandshakeStep: @unchecked Sendable {
    private let tls: OpaquePointer
    private let input: [UInt8]
    private(set) var output: [UInt8] = []
    private(set) var result = mr_tls_opened()
    private(set) var rest: [UInt8] = []

    init(_ tls: OpaquePointer, _ input: [UInt8]) {
        self.tls = tls
        self.input = input
    }

    func run(for filter: TLSFilter) {
        result = withUnsafeMutablePointer(to: &output) { output in
            input.withUnsafeBytes { input in
                mr_tls_open(
                    tls, input.baseAddress, input.count, nil, 0,
                    { object, bytes, count in
                        let output = object.assumingMemoryBound(to: [UInt8].self)
                        output.pointee += UnsafeRawBufferPointer(start: bytes, count: count)
                    }, output)
            }
        }
        rest = Array(input.dropFirst(result.taken))
    }
}

/// Called by the library with bytes for the wire.
private let appendToWire: mr_tls_output = { object, bytes, count in
    object.assumingMemoryBound(to: WireOutput.self).pointee.append(
        UnsafeRawBufferPointer(start: bytes, count: count))
}
