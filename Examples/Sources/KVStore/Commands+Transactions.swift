import RESPCodec

// MULTI, EXEC, DISCARD, RESET. There is no WATCH.
extension Command {
    static let transactions = [
        immediate("multi", 1) { call in
            guard call.session.transaction == nil else {
                return call.reply.error("ERR MULTI calls can not be nested")
            }
            call.session.transaction = Transaction()
            call.reply.ok()
        },
        immediate("exec", 1) { exec($0) },
        immediate("discard", 1) { call in
            guard call.session.transaction != nil else {
                return call.reply.error("ERR DISCARD without MULTI")
            }
            call.session.transaction = nil
            call.reply.ok()
        },
        Command("reset", 1, isForSubscribers: true, isImmediate: true) { call in
            let session = call.session
            session.transaction = nil
            call.database.unsubscribeAll(session)
            session.name = []
            session.version = 2
            call.reply.version = 2
            call.reply.simple("RESET")
        },
    ]

    private static func immediate(
        _ name: String, _ arity: Int, _ run: @escaping @Sendable (Call) -> Void
    ) -> Command {
        Command(name, arity, isImmediate: true, run)
    }

    /// Executes the queued commands while the locks of all keys are held, so that no other client's
    /// commands come between. The commands can lock these recursive locks again.
    private static func exec(_ call: Call) {
        guard let transaction = call.session.transaction else {
            return call.reply.error("ERR EXEC without MULTI")
        }
        call.session.transaction = nil
        guard !transaction.isSpoilt else {
            return call.reply.error(
                "EXECABORT Transaction discarded because of previous errors.")
        }
        call.reply.array(transaction.count)
        call.session.isExecuting = true
        call.database.store.aloneWithAll {
            transaction.forEach { call.executeQueued($0) }
        }
        call.session.isExecuting = false
        // The transaction may have lasted long.
        call.forgetTime()
    }
}
