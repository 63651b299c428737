import RESPCodec

/// The requests of one client, executed one after the other: the session, the request and the
/// writer of the reply. Confined to the connection's loop. It is made once for each client and
/// passed on, so that a request retains no object.
public final class Call {
    let database: Database
    public let session: Session
    public let reply: ReplyWriter
    @exclusivity(unchecked) var request = Request.none
    /// The value of `now`; 0 before its first use.
    @exclusivity(unchecked) private var time = 0

    public init(_ database: Database, _ session: Session, _ reply: ReplyWriter) {
        self.database = database
        self.session = session
        self.reply = reply
    }

    /// Milliseconds since 1970, the same for all requests until `forgetTime`. The clock is read
    /// only on use, since most requests do not need the time.
    var now: Int {
        if time == 0 { time = Clock.milliseconds() }
        return time
    }

    /// Makes the next use of `now` read the clock again.
    public func forgetTime() { time = 0 }

    /// Executes one request as if the time were `now`.
    package func execute(_ request: Request, now: Int) {
        time = now
        execute(request)
    }

    /// Executes one request and writes its reply.
    public func execute(_ request: Request) {
        guard request.count > 0 else { return }
        self.request = request
        let start = reply.count
        // The table lives as long as the database, like the store below, so it is not retained.
        Unmanaged.passUnretained(database.commands)._withUnsafeGuaranteedRef { $0.run(self) }
        if reply.hasOverflowed { refuse(from: start) }
        // The bytes that the request lends are soon invalid.
        self.request = .none
    }

    /// Executes one request of a transaction, which was checked when it was queued.
    func executeQueued(_ request: Request) {
        let outer = self.request
        self.request = request
        let start = reply.count
        database.commands.find(self[0])?.run(self)
        if reply.hasOverflowed { refuse(from: start) }
        self.request = outer
    }

    /// Replaces a reply above the limit by an error. The command has changed nothing: each that
    /// replies with data writes them before its change, and other replies have room always.
    private func refuse(from start: Int) {
        reply.replace(from: start, Complaint.replyTooLong)
        database.repliesRefused.add(1, ordering: .relaxed)
        // SUBSCRIBE has one confirmation for each channel. Without them, the client does not know
        // its subscriptions.
        if commandName.hasSuffix("subscribe") { session.end() }
    }

    var count: Int { request.count }

    @inline(__always)
    subscript(_ index: Int) -> UnsafeRawBufferPointer { request[index] }

    var keys: some Sequence<UnsafeRawBufferPointer> { (1..<count).lazy.map { self[$0] } }

    /// Runs `body` with exclusive access to the shard of the key, which is the first argument.
    @inline(__always)
    func withKey<R>(_ body: (Shard, UInt) -> R) -> R {
        Unmanaged.passUnretained(database.store)
            ._withUnsafeGuaranteedRef { $0.withShard(of: self[1], body) }
    }

    /// Like `withKey`, but also passes the live entry, if there is one.
    @inline(__always)
    func withEntry(_ body: (Shard, Entry?) -> Void) {
        withKey { shard, hash in body(shard, shard.find(self[1], hash, now)) }
    }

    /// The command's name in the form that errors show.
    var commandName: String { database.commands.find(self[0])?.name ?? "" }

    /// Returns an argument as a number; nil after the error was written.
    func number(_ index: Int, _ complaint: String = Complaint.notInteger) -> Int? {
        if let value = Decimal.parse(self[index]) { return value }
        reply.error(complaint)
        return nil
    }

    /// Returns an argument as a number of at least 0; nil after the error was written.
    func amount(_ index: Int) -> Int? {
        if let value = Decimal.parse(self[index]), value >= 0 { return value }
        reply.error(Complaint.notPositive)
        return nil
    }

    func wrongType() { reply.error(Complaint.wrongType) }
    func wrongCount(_ name: String) {
        reply.error("ERR wrong number of arguments for '\(name)' command")
    }
}

/// The error texts of Redis.
enum Complaint {
    static let notInteger = "ERR value is not an integer or out of range"
    static let wrongType =
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    static let notPositive = "ERR value is out of range, must be positive"
    static let notFloat = "ERR value is not a valid float"
    static let syntax = "ERR syntax error"
    /// An error of this server only: Redis closes the connection instead, if a limit is set.
    static let replyTooLong =
        "ERR reply exceeds maximum allowed size (client-output-buffer-limit)"
    static let overflow = "ERR increment or decrement would overflow"
}
