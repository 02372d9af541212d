using System.Text;
using KTrace.Symbols;

namespace KTrace.Tests.Symbols.Btf;

/// <summary>Writes a .BTF section by hand.</summary>
internal sealed class BtfBytes(int firstId = 1, int firstString = 0)
{
    private readonly List<byte> _types = [];
    private readonly List<byte> _strings = firstString == 0 ? [0] : [];
    private int _next = firstId;

    public int Add(int kind, string name, uint sizeOrType, int count = 0, bool flag = false, params uint[] trailer)
    {
        Word((uint)String(name));
        Word(((uint)kind << 24) | (uint)count | (flag ? 1u << 31 : 0));
        Word(sizeOrType);
        foreach (var word in trailer)
        {
            Word(word);
        }

        return _next++;
    }

    public uint String(string name)
    {
        if (name.Length == 0)
        {
            return 0;
        }

        var at = firstString + _strings.Count;
        _strings.AddRange(Encoding.UTF8.GetBytes(name));
        _strings.Add(0);
        return (uint)at;
    }

    public int StringsLength => _strings.Count;

    public int EndId => _next;

    public SectionData Section() => new("synthetic", ".BTF", Bytes());

    public byte[] Bytes() =>
    [
        0x9f, 0xeb, 1, 0, .. BitConverter.GetBytes(24), .. BitConverter.GetBytes(0), .. BitConverter.GetBytes(_types.Count),
        .. BitConverter.GetBytes(_types.Count), .. BitConverter.GetBytes(_strings.Count), .. _types, .. _strings,
    ];

    private void Word(uint word) => _types.AddRange(BitConverter.GetBytes(word));
}
