// A peer outside the library: a plain socket on a thread of its own. It may be slow, send in small
// pieces, reset, or end its side before it has received all.
import Glibc
import NetAPI
import TestSupport

struct RawCaller {
    let round: Round
    let talk: Talk
    var dice: Dice
    let descriptor: CInt
    private var sent = 0
    private var received = 0
    private var isFinished = false
    private var isReset = false

    private enum Manner: CaseIterable { case quick, slow, dripping }
    private let manner: Manner
    private let endsEarly: Bool
    private let resetAt: Int

    init(_ round: Round, _ talk: Talk, on descriptor: CInt) {
        (self.round, self.talk, self.descriptor) = (round, talk, descriptor)
        var dice = Dice(talk.key &+ 3)
        manner = dice.pick([.quick, .quick, .slow, .dripping])
        let mayEnd = talk.mode == .work || talk.mode == .echo
        // A server may post bytes after it was notified of the end.
        let isPosted = talk.mode != .work && [2, 3, 4, 5].contains(talk.shape.way % 8)
        endsEarly = mayEnd && !isPosted && dice.one(in: 3)
        let staysWhole = talk.shape.isCalm || dice.one(in: 2)
        resetAt = staysWhole ? Int.max : dice.below(talk.request + 1)
        self.dice = dice
    }

    mutating func run() {
        defer {
            close(descriptor)
            talk.isOver.set()
        }
        let deadline = now() + 20_000
        var body = talk.header
        body.append(contentsOf: Pattern.bytes(talk.key, at: 0, count: talk.request))
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while now() < deadline {
            if sent >= resetAt, resetAt < Int.max { return reset() }
            guard step(body, &buffer) else { return }
            if talk.isComplete.isSet, dice.one(in: 3) { return talk.note("raw: closed") }
            if round.isOver.isSet, now() > deadline - 10_000 { break }
        }
        talk.note("raw: gave up")
    }

    private mutating func step(_ body: [UInt8], _ buffer: inout [UInt8]) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if sent < body.count { poller.events |= Int16(POLLOUT) }
        poll(&poller, 1, 100)
        if manner == .slow { sleep(milliseconds: 1) }
        if sent < body.count, poller.revents & Int16(POLLOUT) != 0 {
            let most = manner == .dripping && sent < 200 ? dice.within(1...7) : Pattern.most
            let piece = min(body.count - sent, most)
            let count = body.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, piece, CInt(MSG_NOSIGNAL))
            }
            if count > 0 {
                talk.up.write(count)
                sent += count
            } else if count < 0, errno != EAGAIN {
                talk.note("raw: send errno \(errno)")
                sent = body.count
                // The kernel reports a reset once, so an end after it is no clean end.
                isReset = true
            }
        }
        if sent == body.count, endsEarly, !isFinished {
            isFinished = true
            shutdown(descriptor, CInt(SHUT_WR))
        }
        guard poller.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 else { return true }
        return receive(&buffer)
    }

    /// Returns false at the end of the stream or after an error.
    private mutating func receive(_ buffer: inout [UInt8]) -> Bool {
        let most = manner == .slow ? dice.size(upTo: buffer.count) : buffer.count
        let count = recv(descriptor, &buffer, most, 0)
        if count == 0 {
            if !isReset { talk.down.hasEnded.set() }
            talk.note("raw: end")
            return false
        }
        guard count > 0 else {
            if errno == EAGAIN { return true }
            talk.note("raw: errno \(errno)")
            return false
        }
        let wrong = buffer.withUnsafeBytes {
            Pattern.firstWrong(
                UnsafeRawBufferPointer(rebasing: $0[..<count]), talk.replyKey, at: received)
        }
        if let wrong { round.ledger.violation("raw: wrong byte at \(wrong): \(talk.summary)") }
        talk.down.shown.add(count)
        received += count
        round.ledger.count("bytes", count)
        if received >= talk.reply, talk.isComplete.set() {
            round.ledger.count("completed: \(talk.mode)")
            if !isFinished, dice.one(in: 2) {
                isFinished = true
                shutdown(descriptor, CInt(SHUT_WR))
            }
        }
        return true
    }

    private func reset() {
        if talk.shape.isUnix { talk.isCut.set() }
        try? setSocketOption(descriptor, SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        talk.note("raw: reset")
    }
}

/// Returns a connected, non-blocking socket; nil if the connect fails.
func rawConnect(to address: Address) -> CInt? {
    let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard let target = try? KernelAddress(address.description),
        let descriptor = try? target.makeSocket(type)
    else { return nil }
    guard target.withKernelForm({ connect(descriptor, $0, $1) }) == 0 else {
        close(descriptor)
        return nil
    }
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    return descriptor
}

/// The host of this process's servers. Its clients could otherwise reach a server of another such
/// process, which has got the port of one that has ended.
enum OwnHost {
    static let text = stride(from: 24, through: 0, by: -8).map { "\(number >> $0 & 255)" }
        .joined(separator: ".")
    private static let number = 0x7F40_0000 | UInt32(getpid()) & 0x3F_FFFF
}
