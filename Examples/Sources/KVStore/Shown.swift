/// Returns a client's bytes in the form that an error shows: text that fits in a line and in a log.
/// Like in Redis, it ends at a zero byte, shows at most 128 bytes, and has blanks for line ends.
/// Unlike Redis, it writes other control characters and invalid UTF-8 as `\xff`, because a client
/// library decodes an error before it can raise it.
func shown(_ bytes: UnsafeRawBufferPointer, most: Int = 128) -> String {
    let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(max(0, most)).prefix { $0 != 0 })
    var (text, place) = ("", 0)
    var parser = Unicode.UTF8.ForwardParser()
    var iterator = part.makeIterator()
    while true {
        switch parser.parseScalar(from: &iterator) {
        case .emptyInput: return text
        case .valid(let encoded):
            let scalar = Unicode.UTF8.decode(encoded)
            if scalar == "\r" || scalar == "\n" {
                text += " "
            } else if scalar.properties.generalCategory == .control {
                for byte in encoded { text += escaped(byte) }
            } else {
                text.unicodeScalars.append(scalar)
            }
            place += encoded.count
        case .error(let length):
            for byte in part[place..<place + length] { text += escaped(byte) }
            place += length
        }
    }
}

private func escaped(_ byte: UInt8) -> String {
    let digits = Array("0123456789abcdef".unicodeScalars)
    var text = "\\x"
    text.unicodeScalars.append(digits[Int(byte >> 4)])
    text.unicodeScalars.append(digits[Int(byte & 15)])
    return text
}
