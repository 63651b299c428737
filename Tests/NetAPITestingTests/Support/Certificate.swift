/// A certificate for 127.0.0.1 that signs itself, and its key. It is valid for a hundred years and
/// protects nothing. Made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256`.
enum Certificate {
    static let chain = """
        -----BEGIN CERTIFICATE-----
        MIIBjjCCATSgAwIBAgIUaG6/pprJ5CJ6aiAhQapRPkpu9dwwCgYIKoZIzj0EAwIw
        EzERMA8GA1UEAwwIbWlsbHJhY2UwIBcNMjYxMTI3MTUwNjA5WhgPMjEyNjExMDMx
        NTA2MDlaMBMxETAPBgNVBAMMCG1pbGxyYWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAEyjSgDgvuNteEYCrQO+3EFH8+rIHVp4hx48I+tdo8+yzGvYOrsb3Ms31O
        f0Z3ZgSNH438a0FrDsaZw7tidCbc9qNkMGIwHQYDVR0OBBYEFK+2Sw1oK9bFGWN/
        Fndi9UfS2IVqMB8GA1UdIwQYMBaAFK+2Sw1oK9bFGWN/Fndi9UfS2IVqMA8GA1Ud
        EwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNIADBFAiEA
        l+o4qoQIKCKFlXTJK1RyQbIKexYB8fxzepMBRpqjwEgCICU3v2QwdgJqW8TO+dty
        +g9MsjK1bCYXrgI2rYvvibdO
        -----END CERTIFICATE-----
        """
    static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWTRuLuEFgPZ2BGw9
        sR5h/MwrTIl6G3Q7nGWJ99bvqnWhRANCAATKNKAOC+4214RgKtA77cQUfz6sgdWn
        iHHjwj612jz7LMa9g6uxvcyzfU5/RndmBI0fjfxrQWsOxpnDu2J0Jtz2
        -----END PRIVATE KEY-----
        """
}
