import RESPCodec

/// One client's requests, each executed in its turn: who asks, for what, and where the reply goes.
/// Confined to the connection's loop. It is made once per client and handed on, so that a request
/// retains none of what it refers to.
public final class Call {
    let database: Database
    public let session: Session
    public let reply: ReplyWriter
    @exclusivity(unchecked) var request = Request.none
    /// What `now` was found to be; 0 before anybody asked.
    @exclusivity(unchecked) private var time = 0

    public init(_ database: Database, _ session: Session, _ reply: ReplyWriter) {
        self.database = database
        self.session = session
        self.reply = reply
    }

    /// Milliseconds since 1970, the same for all requests until `forgetTime`. The clock is read
    /// only for who asks, since most requests have nothing to do with time.
    var now: Int {
        if time == 0 { time = Clock.milliseconds() }
        return time
    }

    /// Requests from here on may be of a later time.
    public func forgetTime() { time = 0 }

    /// Executes one request as if it were this time.
    package func execute(_ request: Request, now: Int) {
        time = now
        execute(request)
    }

    /// Executes one request and writes its reply.
    public func execute(_ request: Request) {
        guard request.count > 0 else { return }
        self.request = request
        let start = reply.count
        // It lives as long as the database, like the store below.
        Unmanaged.passUnretained(database.commands)._withUnsafeGuaranteedRef { $0.run(self) }
        if reply.hasOverflowed { refuse(from: start) }
        // What it lent is gone soon.
        self.request = .none
    }

    /// Executes one request of a transaction, which was looked at when it was queued.
    func executeQueued(_ request: Request) {
        let outer = self.request
        self.request = request
        let start = reply.count
        database.commands.find(self[0])?.run(self)
        if reply.hasOverflowed { refuse(from: start) }
        self.request = outer
    }

    /// Who asks for too much is told so, and nothing has been taken from the database.
    private func refuse(from start: Int) {
        reply.replace(from: start, Complaint.replyTooLong)
        database.repliesRefused.add(1, ordering: .relaxed)
        // SUBSCRIBE has one confirmation for each channel. Without them the client does not know
        // what it listens to.
        if database.commands.find(self[0])?.isForSubscribers == true { session.end() }
    }

    var count: Int { request.count }

    @inline(__always)
    subscript(_ index: Int) -> UnsafeRawBufferPointer { request[index] }

    var keys: some Sequence<UnsafeRawBufferPointer> { (1..<count).lazy.map { self[$0] } }

    /// Runs `body` alone with the key's shard, the key being the first argument.
    @inline(__always)
    func withKey<R>(_ body: (Shard, UInt) -> R) -> R {
        Unmanaged.passUnretained(database.store)
            ._withUnsafeGuaranteedRef { $0.withShard(of: self[1], body) }
    }

    /// The same with the live entry, if there is one.
    @inline(__always)
    func withEntry(_ body: (Shard, Entry?) -> Void) {
        withKey { shard, hash in body(shard, shard.find(self[1], hash, now)) }
    }

    /// As errors show it.
    var commandName: String { database.commands.find(self[0])?.name ?? "" }

    /// An argument as a number; nil after the error was written.
    func number(_ index: Int, _ complaint: String = Complaint.notInteger) -> Int? {
        if let value = Decimal.parse(self[index]) { return value }
        reply.error(complaint)
        return nil
    }

    /// How many are asked for; nil after the error was written.
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

/// Redis's words.
enum Complaint {
    static let notInteger = "ERR value is not an integer or out of range"
    static let wrongType =
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    static let notPositive = "ERR value is out of range, must be positive"
    static let notFloat = "ERR value is not a valid float"
    static let syntax = "ERR syntax error"
    /// Not Redis's: it closes the connection, if it is told to have a limit at all.
    static let replyTooLong =
        "ERR reply exceeds maximum allowed size (client-output-buffer-limit)"
    static let overflow = "ERR increment or decrement would overflow"
}
