import RESPCodec

// Commands on the client's connection, which use no keys.
extension Command {
    static let connections = [
        forSubscribers("ping", -1, ping),
        Command("echo", 2) { call in call.reply.bulk(call[1]) },
        Command("quit", -1, isForSubscribers: true, isImmediate: true) { call in
            call.session.end()
            call.reply.ok()
        },
        Command("select", 2) { call in
            guard let number = call.number(1) else { return }
            guard number == 0 else { return call.reply.error("ERR DB index is out of range") }
            call.reply.ok()
        },
        Command("hello", -1) { hello($0) },
        Command("auth", -2) { auth($0) },
        Command("client", -2, clientSubcommands),
    ]

    private static func ping(_ call: Call) {
        guard call.count <= 2 else { return call.wrongCount("ping") }
        if call.session.isRestricted {
            call.reply.array(2)
            call.reply.bulk("pong")
            call.count == 2 ? call.reply.bulk(call[1]) : call.reply.bulk("")
        } else if call.count == 2 {
            call.reply.bulk(call[1])
        } else {
            call.reply.simple("PONG")
        }
    }

    private static func hello(_ call: Call) {
        var version = call.session.version
        var name: UnsafeRawBufferPointer?
        if call.count > 1 {
            let complaint = "ERR Protocol version is not an integer or out of range"
            guard let number = call.number(1, complaint) else { return }
            guard 2...3 ~= number else {
                return call.reply.error("NOPROTO unsupported protocol version")
            }
            version = number
        }
        var index = 2
        while index < call.count {
            if isWord(call[index], "AUTH"), index + 2 < call.count {
                guard isDefaultUser(call[index + 1]) else { return wrongPassword(call) }
                index += 3
            } else if isWord(call[index], "SETNAME"), index + 1 < call.count {
                name = call[index + 1]
                guard isName(call[index + 1]) else { return badName(call) }
                index += 2
            } else {
                return call.reply.error(
                    "ERR Syntax error in HELLO option '\(shown(call[index]))'")
            }
        }
        call.reply.version = version
        writeServer(call)
        // Without the reply, the client does not know that the version has changed.
        guard !call.reply.hasOverflowed else {
            call.reply.version = call.session.version
            return
        }
        if let name { call.session.name = [UInt8](name) }
        call.session.version = version
    }

    private static func writeServer(_ call: Call) {
        call.reply.map(7)
        for (field, value) in [("server", "redis"), ("version", Self.version)] {
            call.reply.bulk(field)
            call.reply.bulk(value)
        }
        call.reply.bulk("proto")
        call.reply.integer(call.reply.version)
        call.reply.bulk("id")
        call.reply.integer(call.session.id)
        for (field, value) in [("mode", "standalone"), ("role", "master")] {
            call.reply.bulk(field)
            call.reply.bulk(value)
        }
        call.reply.bulk("modules")
        call.reply.array(0)
    }

    /// The version of Redis whose protocol and error texts this server follows.
    static let version = "7.0.15"

    private static func auth(_ call: Call) {
        guard call.count <= 3 else { return call.reply.error(Complaint.syntax) }
        guard call.count == 3 else {
            return call.reply.error(
                "ERR AUTH <password> called without any password configured for the default user. "
                    + "Are you sure your configuration is correct?")
        }
        guard isDefaultUser(call[1]) else { return wrongPassword(call) }
        call.reply.ok()
    }

    /// Returns whether the name is that of the default user. There are no other users, and this one
    /// needs no password.
    private static func isDefaultUser(_ name: UnsafeRawBufferPointer) -> Bool {
        name.elementsEqual("default".utf8)
    }

    private static func wrongPassword(_ call: Call) {
        call.reply.error("WRONGPASS invalid username-password pair or user is disabled.")
    }

    static func isName(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.allSatisfy { 0x21...0x7E ~= $0 }
    }

    static func badName(_ call: Call) {
        call.reply.error(
            "ERR Client names cannot contain spaces, newlines or special characters.")
    }
}
