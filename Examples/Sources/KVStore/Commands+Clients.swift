import RESPCodec

// CLIENT: the settings of a client, and information about itself and others.
extension Command {
    static let clientSubcommands = [
        Subcommand(
            name: "GETNAME", arity: 2, usage: "GETNAME",
            help: ["Return the name of the current connection."]
        ) { call in
            let name = call.session.name
            name.isEmpty ? call.reply.null() : call.reply.bulk(name)
        },
        Subcommand(
            name: "ID", arity: 2, usage: "ID", help: ["Return the ID of the current connection."]
        ) { call in call.reply.integer(call.session.id) },
        Subcommand(
            name: "INFO", arity: 2, usage: "INFO",
            help: ["Return information about the current client connection."]
        ) { call in
            call.reply.verbatim(line(call, call.session.id, call.session.profile, "client|info"))
        },
        Subcommand(
            name: "LIST", arity: -2, usage: "LIST [options ...]",
            help: [
                "Return information about client connections. Options:",
                "* TYPE (NORMAL|MASTER|REPLICA|PUBSUB)", "  Return clients of specified type.",
                "* ID <id> [<id> ...]", "  Return those clients.",
            ]
        ) { list($0) },
        Subcommand(
            name: "SETNAME", arity: 3, usage: "SETNAME <name>",
            help: ["Assign the name <name> to the current connection."]
        ) { call in
            guard isName(call[2]) else { return badName(call) }
            call.session.name = [UInt8](call[2])
            call.reply.ok()
        },
        Subcommand(
            name: "SETINFO", arity: 4, usage: "SETINFO <option> <value>",
            help: ["Accepted, and not kept."]
        ) { call in call.reply.ok() },
        Subcommand(
            name: "NO-EVICT", arity: 3, usage: "NO-EVICT (ON|OFF)",
            help: ["Protect current client connection from eviction. There is none."]
        ) { call in
            guard isWord(call[2], "ON") || isWord(call[2], "OFF") else {
                return call.reply.error(Complaint.syntax)
            }
            call.reply.ok()
        },
    ]

    private static func list(_ call: Call) {
        var isWanted: (Int, Profile) -> Bool = { _, _ in true }
        if call.count == 4, isWord(call[2], "TYPE") {
            if isWord(call[3], "NORMAL") {
                isWanted = { !$1.isSubscriber }
            } else if isWord(call[3], "PUBSUB") {
                isWanted = { $1.isSubscriber }
            } else if isWord(call[3], "MASTER") || isWord(call[3], "REPLICA")
                || isWord(call[3], "SLAVE")
            {
                isWanted = { _, _ in false }
            } else {
                return call.reply.error("ERR Unknown client type '\(shown(call[3]))'")
            }
        } else if call.count > 3, isWord(call[2], "ID") {
            var ids: Set<Int> = []
            for index in 3..<call.count {
                guard let id = Decimal.parse(call[index]) else {
                    return call.reply.error("ERR Invalid client ID")
                }
                ids.insert(id)
            }
            isWanted = { id, _ in ids.contains(id) }
        } else if call.count > 2 {
            return call.reply.error(Complaint.syntax)
        }
        var text = ""
        call.database.forEachProfile { id, profile in
            guard isWanted(id, profile) else { return }
            text += line(call, id, profile, id == call.session.id ? "client|list" : "NULL")
        }
        call.reply.verbatim(text)
    }

    private static func line(
        _ call: Call, _ id: Int, _ profile: Profile, _ command: String
    ) -> String {
        profile.line(id: id, call.now, command: command)
    }
}
