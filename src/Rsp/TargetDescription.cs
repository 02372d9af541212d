// GDB manual, "Target Descriptions": target.xml with `architecture`, `feature` and `reg`, and files that `xi:include` names, inline at their
// place. A register without regnum follows the one before it. Types (vector, union, flags) are skipped: values are taken by size.
using System.Collections.Immutable;
using System.Xml;

namespace KTrace.Rsp;

/// <summary>What target.xml says about the target's registers.</summary>
public sealed class TargetDescription
{
    private const int MaxDepth = 8;
    private const int MaxFiles = 64;
    private const int MaxRegisters = 4096;
    private const int MaxBits = 1 << 16;

    private TargetDescription(string? architecture, RegisterLayout layout)
    {
        Architecture = architecture;
        Layout = layout;
    }

    /// <summary>In gdb's words, such as `i386:x86-64`; null where the stub does not say.</summary>
    public string? Architecture { get; }

    public RegisterLayout Layout { get; }

    /// <summary>Reads target.xml and what it includes.</summary>
    /// <param name="readFile">Gives the bytes of a file by its name.</param>
    /// <exception cref="RspException">Protocol: malformed XML, a loop of includes, sizes or counts beyond reason.</exception>
    public static async ValueTask<TargetDescription> LoadAsync(
        Func<string, CancellationToken, ValueTask<byte[]>> readFile, CancellationToken cancellationToken = default)
    {
        var reader = new Reader(readFile);
        await reader.ReadAsync("target.xml", 0, cancellationToken).ConfigureAwait(false);
        return reader.Finish();
    }

    /// <summary>An element in document order: a register, or a file to be read at this place.</summary>
    private sealed record Item(string? Include, string Name, int? Number, int BitSize, string? Type, string? Group, string Feature);

    private sealed class Reader(Func<string, CancellationToken, ValueTask<byte[]>> readFile)
    {
        private readonly SortedDictionary<int, RegisterDescription> _registers = [];
        private string? _architecture;
        private int _files;
        private int _next;

        public async ValueTask ReadAsync(string file, int depth, CancellationToken cancellationToken)
        {
            if (depth > MaxDepth || ++_files > MaxFiles)
            {
                throw StubXml.Broken(file, $"included more than {MaxDepth} deep, or as more than the {MaxFiles}th file");
            }

            var bytes = await readFile(file, cancellationToken).ConfigureAwait(false);
            foreach (var item in Parse(file, bytes))
            {
                if (item.Include is { } include)
                {
                    await ReadAsync(include, depth + 1, cancellationToken).ConfigureAwait(false);
                }
                else
                {
                    Add(file, item);
                }
            }
        }

        public TargetDescription Finish()
        {
            var registers = ImmutableArray.CreateBuilder<RegisterDescription>(_registers.Count);
            var offset = 0;
            foreach (var register in _registers.Values)
            {
                registers.Add(register with { Offset = offset });
                offset += register.ByteSize;
            }

            return new TargetDescription(_architecture, new RegisterLayout(registers.MoveToImmutable()));
        }

        private void Add(string file, Item item)
        {
            var number = item.Number ?? _next;
            var description = new RegisterDescription(item.Name, number, item.BitSize, item.Type, item.Group, item.Feature, 0);
            if (_registers.Count >= MaxRegisters || !_registers.TryAdd(number, description))
            {
                throw StubXml.Broken(file, $"register {number} is described twice, or there are more than {MaxRegisters}");
            }

            _next = number + 1;
        }

        private List<Item> Parse(string file, byte[] bytes)
        {
            var items = new List<Item>();
            var feature = "";
            StubXml.Read(
                file,
                bytes,
                xml =>
                {
                    switch (xml.LocalName)
                    {
                        case "include":
                            items.Add(new Item(StubXml.Attribute(file, xml, "href"), "", null, 0, null, null, feature));
                            break;
                        case "feature":
                            feature = StubXml.Attribute(file, xml, "name");
                            break;
                        case "reg":
                            items.Add(ReadRegister(file, xml, feature));
                            break;
                    }
                },
                (element, text) => _architecture ??= element == "architecture" ? text : null);
            return items;
        }

        private static Item ReadRegister(string file, XmlReader xml, string feature)
        {
            var number = xml.GetAttribute("regnum") is { } text ? StubXml.Number(file, text, MaxRegisters * 16) : (int?)null;
            var bits = StubXml.Number(file, StubXml.Attribute(file, xml, "bitsize"), MaxBits);
            return bits == 0
                ? throw StubXml.Broken(file, "a register has no bits")
                : new Item(null, StubXml.Attribute(file, xml, "name"), number, bits, xml.GetAttribute("type"), xml.GetAttribute("group"), feature);
        }
    }
}
