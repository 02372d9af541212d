using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

/// <summary>One way of writing down what is at addresses. In a relocatable file an address is an offset into a section.</summary>
internal abstract class SymAnswers
{
    public abstract Symbolizer Symbolizer { get; }

    public bool HasDwarf => Symbolizer.HasDwarf;

    /// <summary>Addresses are offsets into sections.</summary>
    public abstract bool IsRelocatable { get; }

    public static SymAnswers Create(ElfFile file, string format) =>
        format == "addr2line" ? new Addr2LineAnswers(file) : new FrameAnswers(file, asJson: format == "json");

    /// <summary>Appends the answers to the first <paramref name="count"/> questions in order; returns how many addresses were found.</summary>
    public abstract int Append(SymQuestion[] questions, int count, ByteBuffer into);

    /// <summary>Appends the answer to something that is no address and no symbol, so that answers keep their order.</summary>
    public abstract void AppendUnknown(ByteBuffer into);
}

/// <summary>Where to look: an address, or in a relocatable file an offset and, when it came from a symbol, its section (else -1).</summary>
internal readonly record struct SymQuestion(ulong Address, int Section);

/// <summary>The lines of binutils' addr2line.</summary>
internal sealed class Addr2LineAnswers : SymAnswers
{
    private readonly Addr2Line _addr2Line;

    public Addr2LineAnswers(ElfFile file) => _addr2Line = new Addr2Line(file);

    public override Symbolizer Symbolizer => _addr2Line.Symbolizer;

    public override bool IsRelocatable => _addr2Line.IsRelocatable;

    public override int Append(SymQuestion[] questions, int count, ByteBuffer into)
    {
        var addresses = new ulong[count];
        for (var i = 0; i < addresses.Length; i++)
        {
            addresses[i] = questions[i].Address;
        }

        return _addr2Line.Append(addresses, into);
    }

    // addr2line reads no number as 0.
    public override void AppendUnknown(ByteBuffer into) => into.Append("0x0000000000000000\n??\n??:0\n"u8);
}

/// <summary>KTrace's own text, and JSON.</summary>
internal sealed class FrameAnswers : SymAnswers
{
    private ResolvedFrame _nothing = new() { File = -1 };
    private readonly bool _asJson;
    private readonly byte[] _module;
    private readonly BatchResolver _resolver;

    public FrameAnswers(ElfFile file, bool asJson)
    {
        _asJson = asJson;
        IsRelocatable = file.IsRelocatable;
        var name = IsRelocatable ? ModuleName(file.Path) : null;
        Symbolizer = IsRelocatable
            ? new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)), name)
            : new Symbolizer(file);
        _module = Encoding.UTF8.GetBytes(name ?? "");
        _resolver = new BatchResolver(Symbolizer.Sections, Symbolizer.Units, Symbolizer.Symbols, shortPaths: true);
    }

    public override Symbolizer Symbolizer { get; }

    public override bool IsRelocatable { get; }

    public override int Append(SymQuestion[] questions, int count, ByteBuffer into)
    {
        var places = new ulong[count];
        for (var i = 0; i < places.Length; i++)
        {
            places[i] = IsRelocatable ? Place(questions[i]) : questions[i].Address;
        }

        var result = _resolver.Resolve(places);
        var found = 0;
        for (var i = 0; i < places.Length; i++)
        {
            var isFound = result.FrameCount(i) > 0 || Symbolizer.Symbols.TryFindNearestIndex(places[i], out int _);

            if (_asJson)
            {
                AppendJson(questions[i].Address, places[i], i, result, into);
            }
            else
            {
                AppendText(questions[i].Address, places[i], i, result, into);
            }

            found += isFound ? 1 : 0;
            into.FlushIfFull();
        }

        return found;
    }

    public override void AppendUnknown(ByteBuffer into) => into.Append(_asJson ? "{\"address\":null,\"frames\":[]}\n"u8 : "??\n"u8);

    /// <summary>e1000e of …/e1000e.ko; the kernel writes module names with underscores.</summary>
    private static string ModuleName(string path)
    {
        var name = Path.GetFileName(path);
        return name[..(name.IndexOf('.') is var dot && dot > 0 ? dot : name.Length)].Replace('-', '_');
    }

    // An offset alone means the first section of code that is long enough.
    private ulong Place(SymQuestion question)
    {
        var sections = Symbolizer.Symbols.Sections;
        if (question.Section >= 0)
        {
            return Symbolizer.Symbols.AddressOf(sections[question.Section]) + question.Address;
        }

        foreach (var section in sections)
        {
            if (section.IsAllocated && section.IsExecutable && question.Address < section.Size)
            {
                return Symbolizer.Symbols.AddressOf(section) + question.Address;
            }
        }

        return ulong.MaxValue;
    }

    private void AppendText(ulong address, ulong place, int index, BatchResult result, ByteBuffer into)
    {
        var count = Math.Max(1, result.FrameCount(index));
        for (var i = 0; i < count; i++)
        {
            ref readonly var frame = ref FrameOf(result, index, i);
            if (i == 0)
            {
                into.Append("0x"u8);
                into.AppendHex(address, 16);
            }
            else
            {
                into.Append("                  "u8);
            }

            into.Append("  "u8);
            var symbol = AppendName(place, in frame, into, out var offset, out var isNamed);
            if (isNamed && !frame.IsInline)
            {
                into.Append("+0x"u8);
                into.AppendHex(offset);
            }

            if (symbol is not null)
            {
                into.Append(" ("u8);
                into.AppendClean(Encoding.UTF8.GetBytes(symbol));
                into.Append((byte)')');
            }

            if (_module.Length > 0)
            {
                into.Append(" ["u8);
                into.AppendClean(_module);
                into.Append((byte)']');
            }

            if (frame.File >= 0)
            {
                into.Append("  "u8);
                into.AppendClean(result.Path(index, frame.File));
                into.Append((byte)':');
                if (frame.Line > 0)
                {
                    into.AppendDecimal((uint)frame.Line);
                }
                else
                {
                    into.Append((byte)'?');
                }
            }

            into.Append(frame.IsInline ? "  (inlined)\n"u8 : "\n"u8);
        }
    }

    private void AppendJson(ulong address, ulong place, int index, BatchResult result, ByteBuffer into)
    {
        into.Append("{\"address\":\"0x"u8);
        into.AppendHex(address);
        into.Append("\",\"frames\":["u8);
        var name = new ByteBuffer();
        var count = Math.Max(1, result.FrameCount(index));
        for (var i = 0; i < count; i++)
        {
            ref readonly var frame = ref FrameOf(result, index, i);
            name.Clear();
            var symbol = AppendName(place, in frame, name, out var offset, out var isNamed);
            into.Append(i > 0 ? ",{\"function\":"u8 : "{\"function\":"u8);
            if (isNamed)
            {
                AppendJsonString(name.Written, into);
                into.Append(",\"offset\":\"0x"u8);
                into.AppendHex(offset);
                into.Append((byte)'"');
                if (symbol is not null)
                {
                    into.Append(",\"symbol\":"u8);
                    AppendJsonString(Encoding.UTF8.GetBytes(symbol), into);
                }
            }
            else
            {
                into.Append("null"u8);
            }

            if (_module.Length > 0)
            {
                into.Append(",\"module\":"u8);
                AppendJsonString(_module, into);
            }

            if (frame.File >= 0)
            {
                into.Append(",\"file\":"u8);
                AppendJsonString(result.Path(index, frame.File), into);
                into.Append(",\"line\":"u8);
                into.AppendDecimal((uint)frame.Line);
            }

            into.Append(frame.IsInline ? ",\"inline\":true}"u8 : "}"u8);
        }

        into.Append("]}\n"u8);
    }

    private ref readonly ResolvedFrame FrameOf(BatchResult result, int index, int number)
    {
        if (result.FrameCount(index) == 0)
        {
            return ref _nothing;
        }

        return ref result.Frame(index, number);
    }

    /// <returns>The symbol, where the function's name is not the same text.</returns>
    private string? AppendName(ulong place, in ResolvedFrame frame, ByteBuffer into, out ulong offset, out bool isNamed)
    {
        StringReference name;
        (name, offset) = frame.IsInline ? (frame.Name, place - Math.Min(place, frame.Low)) : Symbolizer.NameFunction(place, in frame);
        isNamed = !name.IsNone;
        if (!isNamed)
        {
            into.Append("??"u8);
            return null;
        }

        var bytes = name.Section == StringSection.SymbolNames ? Symbolizer.Symbols.NameBytes(name.Offset) : Symbolizer.Sections.Bytes(name);
        if (bytes.Contains((byte)'.') || RustName.MayBe(bytes) || bytes.StartsWith("__pfx_"u8) || bytes.StartsWith("__cfi_"u8))
        {
            var (function, symbol) = Symbolizer.Readable(Encoding.UTF8.GetString(bytes));
            into.AppendClean(Encoding.UTF8.GetBytes(function));
            return symbol;
        }

        into.AppendClean(bytes);
        return null;
    }

    private static readonly JsonSerializerOptions JsonText = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static void AppendJsonString(ReadOnlySpan<byte> text, ByteBuffer into)
    {
        if (text.IndexOfAnyExceptInRange((byte)' ', (byte)'~') >= 0)
        {
            into.Append(TerminalText.EscapeJson(JsonSerializer.Serialize(Encoding.UTF8.GetString(text), JsonText)));
            return;
        }

        into.Append((byte)'"');
        foreach (var b in text)
        {
            if (b is (byte)'"' or (byte)'\\')
            {
                into.Append((byte)'\\');
                into.Append(b);
            }
            else
            {
                into.Append(b);
            }
        }

        into.Append((byte)'"');
    }
}
