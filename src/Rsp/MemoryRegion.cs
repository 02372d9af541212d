// gdb manual, "Memory Map Format": what `qXfer:memory-map:read` gives. Probes of boards (OpenOCD, pyOCD) offer it; QEMU, gdbserver and vgdb do not.
using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Rsp;

public enum MemoryRegionType
{
    Ram,
    Rom,
    Flash,

    /// <summary>A type that the format does not name.</summary>
    Other,
}

/// <summary>A range of the target's memory as the stub describes it.</summary>
/// <param name="Length">In bytes.</param>
public readonly record struct MemoryRegion(MemoryRegionType Type, ulong Start, ulong Length)
{
    private const string Document = "memory-map";
    private const int MaxRegions = 65536;

    /// <exception cref="RspException">Protocol: malformed, too many, or a region that reaches beyond the address space.</exception>
    internal static ImmutableArray<MemoryRegion> ReadDocument(byte[] bytes)
    {
        var regions = ImmutableArray.CreateBuilder<MemoryRegion>();
        StubXml.Read(
            Document,
            bytes,
            xml =>
            {
                if (xml.LocalName != "memory")
                {
                    return;
                }

                var start = Address(StubXml.Attribute(Document, xml, "start"));
                var length = Address(StubXml.Attribute(Document, xml, "length"));
                if (regions.Count == MaxRegions || (length > 0 && start + (length - 1) < start))
                {
                    throw StubXml.Broken(Document, $"a region wraps around the address space, or there are more than {MaxRegions}");
                }

                var type = StubXml.Attribute(Document, xml, "type") switch
                {
                    "ram" => MemoryRegionType.Ram,
                    "rom" => MemoryRegionType.Rom,
                    "flash" => MemoryRegionType.Flash,
                    _ => MemoryRegionType.Other,
                };
                regions.Add(new MemoryRegion(type, start, length));
            });
        return regions.ToImmutable();
    }

    /// <summary>Hexadecimal with 0x, as all producers write it, or decimal, as gdb's strtoul would take too.</summary>
    private static ulong Address(string text)
    {
        var hex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        return ulong.TryParse(hex ? text.AsSpan(2) : text, hex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw StubXml.Broken(Document, $"{PacketText.Brief(System.Text.Encoding.UTF8.GetBytes(text))} is no address");
    }
}
