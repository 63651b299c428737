// The events that the server sends to the page: JSON objects in text frames. Without Foundation,
// since the only texts are names and messages.
import NetAPI
import WebSocketCodec

enum ChatEvent {
    static func message(_ text: String, from name: String) -> [UInt8] {
        frame(#"{"kind":"message","name":"# + quoted(name) + #","text":"# + quoted(text) + "}")
    }

    static func joined(_ name: String) -> [UInt8] {
        frame(#"{"kind":"joined","name":"# + quoted(name) + "}")
    }

    static func left(_ name: String) -> [UInt8] {
        frame(#"{"kind":"left","name":"# + quoted(name) + "}")
    }

    /// Returns the counters of the server and of the room.
    static func statistics(of server: Server, _ room: Room) -> [UInt8] {
        let (members, messages) = room.counts
        let counters = server.statistics
        var json = #"{"kind":"statistics","backend":"#
        json += quoted(server.backend.chosen.description)
        for (name, value) in [
            ("loops", server.loopCount), ("members", members), ("messages", messages),
            ("open", counters.open), ("accepted", counters.accepted),
            ("bytesIn", counters.bytesIn), ("bytesOut", counters.bytesOut),
            ("turns", counters.turns), ("kernelEntries", counters.kernelEntries),
            ("overflowCloses", counters.overflowCloses),
            ("refusedPosts", counters.refusedPosts), ("slowTurns", counters.slowTurns),
        ] { json += ",\"\(name)\":\(value)" }
        return frame(json + "}")
    }

    private static func frame(_ json: String) -> [UInt8] {
        FrameWriter.frame(.text, json.utf8)
    }

    /// Returns the text as a JSON string.
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\u{00}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
