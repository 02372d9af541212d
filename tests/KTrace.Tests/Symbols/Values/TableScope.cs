using System.Collections.Immutable;
using System.Text;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Tests.Symbols.Values;

/// <summary>A scope over tables, with types built by hand.</summary>
internal sealed class TableScope : IExpressionScope, ITypeSource, IMemoryReader
{
    public static readonly IntegerType CharType = new("char", 1, IntegerEncoding.SignedCharacter);
    public static readonly IntegerType U8 = new("unsigned char", 1, IntegerEncoding.UnsignedCharacter);
    public static readonly IntegerType Int = new("int", 4, IntegerEncoding.Signed);
    public static readonly IntegerType UInt = new("unsigned int", 4, IntegerEncoding.Unsigned);
    public static readonly IntegerType Long = new("long int", 8, IntegerEncoding.Signed);
    public static readonly IntegerType ULong = new("long unsigned int", 8, IntegerEncoding.Unsigned);
    public static readonly IntegerType Bool = new("_Bool", 1, IntegerEncoding.Boolean);

    private readonly SortedDictionary<ulong, byte[]> _memory = [];

    public Dictionary<string, Variable> Variables { get; } = [];

    public Dictionary<string, Variable> Functions { get; } = [];

    public Dictionary<string, FrameVariable> Locals { get; } = [];

    public Dictionary<string, TypedValue> Registers { get; } = [];

    public Dictionary<(TypeTag Tag, string Name), CType> Named { get; } = [];

    public Dictionary<ulong, string> Names { get; } = [];

    public List<ulong> PerCpuOffsets { get; } = [];

    /// <summary>Pages (their first address) that were not fetched.</summary>
    public HashSet<ulong> NotFetched { get; } = [];

    public int Reads { get; private set; }

    public long BytesRead { get; private set; }

    public Architecture Architecture { get; init; } = X86_64.Instance;

    public ITypeSource Types => this;

    public IMemoryReader Memory => this;

    public int Cpu { get; set; }

    public TypedValue? CurrentTask { get; set; }

    public int AddressSize => Architecture.WordSize;

    public static PointerType To(CType target, int size = 8) => new(target, size);

    /// <summary>Members one behind the other without padding: <c>("next", pointer)</c>.</summary>
    public static StructType Struct(string name, params (string Name, CType Type)[] members)
    {
        var list = ImmutableArray.CreateBuilder<Member>();
        long offset = 0;
        foreach (var (member, type) in members)
        {
            list.Add(new Member(member, type, offset * 8, 0));
            offset += type.Size;
        }

        var all = list.ToImmutable();
        return new StructType(StructKind.Struct, name, offset, false, () => all);
    }

    public static EnumType Enum(string name, params (string Name, long Value)[] enumerators) =>
        new(name, 4, enumerators.Any(e => e.Value < 0), () => [.. enumerators.Select(e => new Enumerator(e.Name, e.Value))]);

    public TableScope With(ulong address, params byte[] bytes)
    {
        _memory[address] = bytes;
        return this;
    }

    public TableScope WithWords(ulong address, params ulong[] words) => With(address, [.. words.SelectMany(w => BitConverter.GetBytes(w)[..AddressSize])]);

    public TableScope WithText(ulong address, string text) => With(address, [.. Encoding.UTF8.GetBytes(text), 0]);

    public TableScope Local(string name, CType type, ulong value)
    {
        Locals[name] = new FrameVariable(name, type, true, TypedValue.OfNumber(type, value, Provenance.Register));
        return this;
    }

    public TableScope Global(string name, CType type, ulong address, bool isPerCpu = false)
    {
        Variables[name] = new Variable(name, type, address, isPerCpu);
        return this;
    }

    public TableScope Type(StructType type)
    {
        Named[(type.Kind == StructKind.Union ? TypeTag.Union : TypeTag.Struct, type.Name)] = type;
        return this;
    }

    public TypedValue At(CType type, ulong address) => new() { Type = type, Address = address, Provenance = Provenance.Memory };

    public FrameVariable? FindLocal(string name) => Locals.GetValueOrDefault(name);

    public TypedValue? FindRegister(string name) => Registers.GetValueOrDefault(name);

    public ulong? PerCpuOffset(int cpu) => cpu >= 0 && cpu < PerCpuOffsets.Count ? PerCpuOffsets[cpu] : null;

    public string? NameOf(ulong address) => Names.GetValueOrDefault(address);

    public IReadOnlyList<string> SuggestNames(string name, int limit) => [.. Locals.Keys.Where(k => k.StartsWith(name[..1], StringComparison.Ordinal)).Take(limit)];

    public CType? FindType(TypeTag tag, string name) => Named.GetValueOrDefault((tag, name));

    public Variable? FindVariable(string name) => Variables.GetValueOrDefault(name);

    public Variable? FindFunction(string name) => Functions.GetValueOrDefault(name);

    public (EnumType Type, long Value)? FindEnumerator(string name)
    {
        foreach (var type in Named.Values.OfType<EnumType>())
        {
            foreach (var enumerator in type.Enumerators)
            {
                if (enumerator.Name == name)
                {
                    return (type, enumerator.Value);
                }
            }
        }

        return null;
    }

    public IReadOnlyList<string> SuggestTypes(string name, int limit) => [];

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        Reads++;
        BytesRead += destination.Length;
        if (NotFetched.Any(page => address < page + 4096 && page < address + 4096))
        {
            return MemoryReadResult.NotFetched;
        }

        while (!destination.IsEmpty)
        {
            var found = false;
            foreach (var (start, bytes) in _memory)
            {
                if (address >= start && address - start < (ulong)bytes.Length)
                {
                    var part = bytes.AsSpan((int)(address - start));
                    var count = Math.Min(part.Length, destination.Length);
                    part[..count].CopyTo(destination);
                    destination = destination[count..];
                    address += (ulong)count;
                    found = true;
                    break;
                }
            }

            if (!found)
            {
                // The rest of a piece of text that ends in the last known byte is zeros, as memory comes in pages.
                if (_memory.Any(m => address - m.Key == (ulong)m.Value.Length && address % 4096 != 0))
                {
                    destination.Clear();
                    return MemoryReadResult.Ok;
                }

                return MemoryReadResult.Unreadable;
            }
        }

        return MemoryReadResult.Ok;
    }
}
