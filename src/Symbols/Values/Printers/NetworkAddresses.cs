using System.Net;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Addresses of networks.</summary>
internal static class NetworkAddresses
{
    public const int EthernetLength = 6;

    /// <summary><c>52:54:00:12:34:56</c></summary>
    public static string Ethernet(ReadOnlySpan<byte> bytes) =>
        string.Join(':', bytes[..EthernetLength].ToArray().Select(b => b.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));

    /// <param name="bigEndian">As read on a little-endian machine.</param>
    public static string Internet4(uint bigEndian) => new IPAddress(bigEndian).ToString();

    public static string Internet6(ReadOnlySpan<byte> bytes) => new IPAddress(bytes[..16]).ToString();

    /// <summary>Arrays of bytes that hold a hardware address, by their names: net_device's are as long as the longest address (MAX_ADDR_LEN, 32), ethhdr's have six bytes.</summary>
    public static bool IsEthernet(string? owner, string name, long count) =>
        (count == EthernetLength && (name.EndsWith("addr", StringComparison.Ordinal) || name.EndsWith("mac", StringComparison.Ordinal) || name.EndsWith("address", StringComparison.Ordinal) || name is "h_dest" or "h_source"))
        || (count == 32 && owner is "net_device" or "netdev_hw_addr" && (name.EndsWith("addr", StringComparison.Ordinal) || name == "broadcast"));
}
