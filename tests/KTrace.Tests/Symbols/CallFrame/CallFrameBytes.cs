using KTrace.Symbols;

namespace KTrace.Tests.Symbols.CallFrame;

/// <summary>Writes call frame sections by hand.</summary>
internal sealed class CallFrameBytes : ISectionSource
{
    private readonly Dictionary<string, (byte[] Bytes, ulong Address)> _sections = [];

    public string Path => "synthetic";

    public int AddressSize { get; init; } = 8;

    public static byte[] Advance1To3Push => [0x41, 0x0e, 0x10, 0x86, 0x02, 0x43, 0x0d, 0x06];

    public CallFrameBytes With(string section, byte[] bytes, ulong address = 0)
    {
        _sections[section] = (bytes, address);
        return this;
    }

    public SectionData GetSection(string name) =>
        _sections.TryGetValue(name, out var s) ? new SectionData(Path, name, s.Bytes) : SectionData.Empty(Path, name);

    public ulong GetSectionAddress(string name) => _sections.TryGetValue(name, out var s) ? s.Address : 0;

    /// <summary>A length, then the body padded with DW_CFA_nop to a multiple of eight.</summary>
    public static byte[] Entry(byte[] body, bool is64 = false)
    {
        var padded = new byte[(body.Length + 7) / 8 * 8];
        body.CopyTo(padded, 0);
        return is64
            ? [0xff, 0xff, 0xff, 0xff, .. BitConverter.GetBytes((long)padded.Length), .. padded]
            : [.. BitConverter.GetBytes(padded.Length), .. padded];
    }

    /// <summary>CFA = rsp + 8, return address at CFA - 8, as every x86-64 CIE starts.</summary>
    public static byte[] Cie(byte version = 1, string augmentation = "", byte[]? augmentationData = null, bool isEhFrame = false, bool is64 = false)
    {
        byte[] id = isEhFrame ? new byte[4] : is64 ? [.. Enumerable.Repeat((byte)0xff, 8)] : [0xff, 0xff, 0xff, 0xff];
        byte[] sizes = version == 4 ? [8, 0] : [];
        return Entry(
            [.. id, version, .. System.Text.Encoding.ASCII.GetBytes(augmentation), 0, .. sizes, 1, 0x78, 16, .. augmentationData ?? [], 0x0c, 7, 8, 0x90, 1],
            is64);
    }

    public static byte[] Fde(int cieOffset, ulong start, ulong size, byte[] instructions, bool is64 = false) => Entry(
        [.. is64 ? BitConverter.GetBytes((long)cieOffset) : BitConverter.GetBytes(cieOffset), .. BitConverter.GetBytes(start), .. BitConverter.GetBytes(size), .. instructions],
        is64);
}
