/// MULTI, EXEC, DISCARD: no command between them is executed too early, too often or in part.
import Glibc
import KVStore
import TestSupport
import Testing

@Suite struct TransactionTests {
    private static let aborted = "-EXECABORT Transaction discarded because of previous errors.|"

    static let conversations: [[(String, String)]] = [
        [
            ("MULTI", "+OK|"), ("SET a 1", "+QUEUED|"), ("INCR a", "+QUEUED|"),
            ("MULTI", "-ERR MULTI calls can not be nested|"), ("LPUSH a x", "+QUEUED|"),
            ("GET a", "+QUEUED|"), ("EXEC", "*4|+OK|:2|" + CommandTests.wrongType + "$1|2|"),
            ("EXEC", "-ERR EXEC without MULTI|"), ("DISCARD", "-ERR DISCARD without MULTI|"),
            ("MULTI", "+OK|"), ("EXEC", "*0|"),
        ],
        [
            ("MULTI", "+OK|"), ("SET a 1", "+QUEUED|"), ("DISCARD", "+OK|"), ("GET a", "$-1|"),
            ("MULTI", "+OK|"), ("SET a 1", "+QUEUED|"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: |"),
            ("SET a 2", "+QUEUED|"), ("EXEC", aborted), ("GET a", "$-1|"),
            ("MULTI", "+OK|"), ("SET a", "-ERR wrong number of arguments for 'set' command|"),
            ("EXEC", aborted), ("SET a 3", "+OK|"), ("GET a", "$1|3|"),
        ],
        [
            ("MULTI", "+OK|"), ("SUBSCRIBE c", "+QUEUED|"), ("PING", "+QUEUED|"),
            ("UNSUBSCRIBE c", "+QUEUED|"),
            ("EXEC", "*3|*3|$9|subscribe|$1|c|:1|*2|$4|pong|$0||*3|$11|unsubscribe|$1|c|:0|"),
            ("MULTI", "+OK|"), ("MSET x 1 y 2", "+QUEUED|"), ("DEL x nope", "+QUEUED|"),
            ("DBSIZE", "+QUEUED|"), ("FLUSHALL", "+QUEUED|"), ("EXEC", "*4|+OK|:1|:1|+OK|"),
        ],
        [
            ("MULTI", "+OK|"),
            ("CLIENT NOPE", "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.|"),
            ("EXEC", aborted), ("MULTI", "+OK|"),
            ("CONFIG GET", "-ERR wrong number of arguments for 'config\u{7C}get' command|"),
            ("EXEC", aborted), ("MULTI", "+OK|"), ("CLIENT GETNAME", "+QUEUED|"),
            ("CLIENT HELP", "+QUEUED|"), ("DISCARD", "+OK|"),
        ],
        [
            ("MULTI", "+OK|"), ("HELLO 3", "+QUEUED|"), ("RESET", "+RESET|"),
            ("EXEC", "-ERR EXEC without MULTI|"), ("SUBSCRIBE c", "*3|$9|subscribe|$1|c|:1|"),
            ("RESET", "+RESET|"), ("GET a", "$-1|"), ("MULTI", "+OK|"), ("QUIT", "+OK|"),
        ],
    ]

    @Test("MULTI, EXEC and DISCARD return the expected replies", arguments: conversations.indices)
    func conversation(_ index: Int) {
        let client = Dialogue()
        for (line, reply) in Self.conversations[index] {
            #expect(client.ask(line) == reply, "\(line)")
        }
    }

    /// Each transaction changes two keys alike, so they must never differ.
    @Test("no other command is executed between the commands of a transaction")
    func nobodyComesBetween() {
        let database = Database()
        let threads = (0..<3).map { _ in
            TestThread {
                let client = Dialogue(database)
                for _ in 0..<1000 {
                    for line in ["MULTI", "INCR a", "INCR b"] { _ = client.ask(line) }
                    let lines = client.ask("EXEC").split(separator: "|")
                    guard lines.count == 3, lines[1] == lines[2] else {
                        _ = Dialogue(database).ask("INCR torn")
                        continue
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        let client = Dialogue(database)
        #expect(client.ask("MGET a b torn") == "*3|$4|3000|$4|3000|$-1|")
    }
}
