// The whole of the kernel's irq descriptors at one stop, through the kernel's own types: kernels differ (per-device MSI domains since 6.2, struct irqstat since 6.10, affinity masks
// that are pointers with CONFIG_CPUMASK_OFFSTACK), and a member that is not there gives less.
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tracing.Interrupts;

namespace KTrace.Debugger.Interrupts;

/// <summary>Reads what the kernel knows of its interrupts. Serves one stop after another.</summary>
public sealed class IrqSnapshot
{
    // Chains: tree (3), descriptor, data and its parents (4), names (4), messages.
    private const int MaximumRounds = 64;
    private const int MaximumLevels = 8;
    private const int MaximumActions = 64;
    private const int MaximumCpus = 8192;

    // include/linux/irqdesc.h: what has no CPU or vector yet (arch/x86/kernel/apic/vector.c: BITS of a vector are 8).
    private const int MaximumVector = 255;

    private readonly Machine _machine;
    private readonly KernelMap _map;
    private readonly StopMemory _memory;
    private readonly GatheringReader _reader;
    private readonly IrqDescriptors _descriptors;
    private readonly KernelStruct _desc, _data, _common, _chip, _domain, _action, _msi, _apic;
    private readonly ulong? _cpuCount, _perCpuOffsets, _vectorDomain;
    private readonly bool _masksArePointers;
    private readonly int _word;

    /// <param name="map">The kernel that runs.</param>
    public IrqSnapshot(Machine machine, KernelMap map)
    {
        (_machine, _map) = (machine, map);
        _word = map.Image.Architecture.WordSize;
        var layouts = map.Image.Layouts;
        _memory = new StopMemory(machine.Client, machine.Memory.Ram);
        _reader = new GatheringReader(_memory);
        _desc = new KernelStruct(layouts, "irq_desc");
        _data = new KernelStruct(layouts, "irq_data");
        _common = new KernelStruct(layouts, "irq_common_data");
        _chip = new KernelStruct(layouts, "irq_chip");
        _domain = new KernelStruct(layouts, "irq_domain");
        _action = new KernelStruct(layouts, "irqaction");
        _msi = new KernelStruct(layouts, "msi_desc");
        _apic = new KernelStruct(layouts, "apic_chip_data");
        _descriptors = new IrqDescriptors(map, _desc, _reader);
        _cpuCount = Symbol("nr_cpu_ids");
        _perCpuOffsets = Symbol("__per_cpu_offset");
        _vectorDomain = Symbol("x86_vector_domain");
        _masksArePointers = map.Image.Types.FindType(TypeTag.Struct, "irq_common_data") is StructType common
            && common.Members.FirstOrDefault(m => m.Name == "affinity")?.Type.Resolved is PointerType;
    }

    /// <summary>Reads all descriptors at this stop, ascending by number; empty before the kernel has any, and for a kernel whose types do not tell.</summary>
    /// <exception cref="RspException">The stub is broken, or the machine runs.</exception>
    public async ValueTask<ImmutableArray<IrqDescription>> ReadAsync(CancellationToken cancellationToken = default) =>
        _descriptors.CanFind ? await KernelView.ReadAsync(_machine, _map, _memory, GatherAsync, cancellationToken) : [];

    private async ValueTask<ImmutableArray<IrqDescription>> GatherAsync(CancellationToken cancellationToken)
    {
        _reader.Clear();
        for (var round = 0; ; round++)
        {
            var irqs = Walk();
            if (!_reader.HasMissing || round == MaximumRounds)
            {
                return irqs;
            }

            await _reader.FetchAsync(cancellationToken);
        }
    }

    private ImmutableArray<IrqDescription> Walk()
    {
        var cpus = _cpuCount is { } at && Word(_reader.Read(at, 4)) is > 0 and <= MaximumCpus and var count ? (int)count : 1;
        var offsets = PerCpuOffsets(cpus);
        var irqs = ImmutableArray.CreateBuilder<IrqDescription>();
        foreach (var (number, address) in _descriptors.Find())
        {
            if (number <= int.MaxValue && _reader.Read(address, _desc.Size) is { } desc)
            {
                irqs.Add(Describe((int)number, desc, cpus, offsets));
            }
        }

        return irqs.DrainToImmutable();
    }

    private IrqDescription Describe(int irq, byte[] desc, int cpus, ulong?[] offsets)
    {
        var common = _desc.Find("irq_common_data") is { } at ? desc.AsSpan(at.ByteOffset, Math.Min(at.Size, desc.Length - at.ByteOffset)).ToArray() : null;
        var (levels, vector, cpu) = Levels(desc);
        return new IrqDescription(irq)
        {
            Levels = levels,
            Vector = vector,
            Cpu = cpu,
            Name = Text(_desc.Number(desc, "name")),
            Flow = Symbolic(_desc.Number(desc, "handle_irq")),
            State = (uint?)_common.Number(common, "state_use_accessors"),
            Depth = (int?)(uint?)_desc.Number(desc, "depth"),
            Affinity = Mask(common, "affinity", cpus),
            EffectiveAffinity = Mask(common, "effective_affinity", cpus),
            Msi = Message(_common.Number(common, "msi_desc")),
            Actions = Actions(_desc.Number(desc, "action")),
            Counts = Counts(_desc.Number(desc, "kstat_irqs"), offsets),
        };
    }

    /// <summary>irq_data and its parents; the last one's chip data is the vector's.</summary>
    private (ImmutableArray<IrqLevel> Levels, int? Vector, int? Cpu) Levels(byte[] desc)
    {
        var levels = ImmutableArray.CreateBuilder<IrqLevel>();
        int? vector = null, cpu = null;
        var data = _desc.Find("irq_data") is { } at && at.ByteOffset + at.Size <= desc.Length ? desc.AsSpan(at.ByteOffset, at.Size).ToArray() : null;
        for (var level = 0; data is not null && level < MaximumLevels; level++)
        {
            var (chip, domain) = (_data.Number(data, "chip"), _data.Number(data, "domain"));
            levels.Add(new IrqLevel(NameOf(_chip, chip), _data.Number(data, "hwirq").GetValueOrDefault(), NameOf(_domain, domain)));
            if (domain is { } vectors and not 0 && _vectorDomain is { } pointer && Word(_reader.Read(pointer, _word)) == vectors)
            {
                (vector, cpu) = VectorOf(_data.Number(data, "chip_data"));
            }

            data = _data.Number(data, "parent_data") is { } parent and not 0 ? _reader.Read(parent, _data.Size) : null;
        }

        return (levels.DrainToImmutable(), vector, cpu);
    }

    private (int? Vector, int? Cpu) VectorOf(ulong? chipData)
    {
        if (chipData is not { } address || !_apic.IsKnown || _reader.Read(address, _apic.Size) is not { } apic
            || _apic.Number(apic, "vector") is not (> 0 and <= MaximumVector and var vector))
        {
            return (null, null);
        }

        return ((int)vector, _apic.Number(apic, "cpu") is { } cpu and < MaximumCpus ? (int)cpu : null);
    }

    private ImmutableArray<IrqAction> Actions(ulong? first)
    {
        var actions = ImmutableArray.CreateBuilder<IrqAction>();
        var seen = new HashSet<ulong>();
        for (var next = first; next is { } address and not 0 && actions.Count < MaximumActions && seen.Add(address);)
        {
            if (!_action.IsKnown || _reader.Read(address, _action.Size) is not { } action)
            {
                break;
            }

            actions.Add(new IrqAction(
                Symbolic(_action.Number(action, "handler")), Text(_action.Number(action, "name")), Symbolic(_action.Number(action, "thread_fn")),
                _action.Number(action, "dev_id").GetValueOrDefault(), (uint)_action.Number(action, "flags").GetValueOrDefault()));
            next = _action.Number(action, "next");
        }

        return actions.DrainToImmutable();
    }

    private MsiMessage? Message(ulong? msi)
    {
        if (msi is null or 0 || !_msi.IsKnown || _reader.Read(msi.Value, _msi.Size) is not { } bytes
            || _msi.Number(bytes, "msg.address_lo") is not { } low || _msi.Number(bytes, "msg.data") is not { } data)
        {
            return null;
        }

        return new MsiMessage(low | (_msi.Number(bytes, "msg.address_hi").GetValueOrDefault() << 32), (uint)data);
    }

    private ImmutableArray<uint> Counts(ulong? perCpu, ulong?[] offsets)
    {
        if (perCpu is null or 0)
        {
            return [];
        }

        var counts = ImmutableArray.CreateBuilder<uint>(offsets.Length);
        foreach (var offset in offsets)
        {
            // struct irqstat begins with the same counter.
            var address = perCpu.Value + offset.GetValueOrDefault();
            counts.Add((uint)Word(_reader.Read(_word == 4 ? (uint)address : address, 4)));
        }

        return counts.MoveToImmutable();
    }

    private ulong?[] PerCpuOffsets(int cpus)
    {
        var table = _perCpuOffsets is { } address ? _reader.Read(address, cpus * _word) : null;
        var offsets = new ulong?[cpus];
        for (var i = 0; i < cpus; i++)
        {
            // Without SMP there is no table, and a per-cpu pointer is a pointer.
            offsets[i] = table is null ? null : Word(table.AsSpan(i * _word, _word));
        }

        return offsets;
    }

    /// <summary>A set of CPUs as lists of the kernel have it (<c>0-3,7</c>); null when the member or its mask is not there.</summary>
    private string? Mask(byte[]? common, string member, int cpus)
    {
        if (common is null || _common.Find(member) is not { } at)
        {
            return null;
        }

        // With a mask of its own each has room for nr_cpu_ids, rounded up to longs.
        var length = (cpus + (_word * 8) - 1) / (_word * 8) * _word;
        var bits = _masksArePointers
            ? _common.Number(common, member) is { } pointer and not 0 ? _reader.Read(pointer, length) : null
            : at.ByteOffset + at.Size <= common.Length ? common.AsSpan(at.ByteOffset, Math.Min(at.Size, length)).ToArray() : null;
        return bits is null ? null : ListOf(bits, cpus);
    }

    private static string ListOf(byte[] bits, int cpus)
    {
        var parts = new List<string>();
        for (var cpu = 0; cpu < Math.Min(cpus, bits.Length * 8); cpu++)
        {
            var start = cpu;
            while (cpu < Math.Min(cpus, bits.Length * 8) && (bits[cpu / 8] & (1 << (cpu % 8))) != 0)
            {
                cpu++;
            }

            if (cpu > start)
            {
                parts.Add(cpu - start == 1 ? start.ToString(CultureInfo.InvariantCulture) : string.Create(CultureInfo.InvariantCulture, $"{start}-{cpu - 1}"));
            }
        }

        return string.Join(',', parts);
    }

    private string? NameOf(KernelStruct type, ulong? address) =>
        address is { } at and not 0 && type.AddressOf(at, "name") is { } pointer ? Text(Word(_reader.Read(pointer, _word))) : null;

    private string? Text(ulong? address) => address is { } at and not 0 ? _reader.ReadText(at) : null;

    private string? Symbolic(ulong? function) =>
        function is { } address and not 0 ? _map.NameOf(address) ?? string.Create(CultureInfo.InvariantCulture, $"0x{address:x}") : null;

    private ulong? Symbol(string name) => _map.Image.TryFindSymbol(name, out var symbol) ? _map.ToRunTime(symbol.Value) : null;

    private static ulong Word(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var i = bytes.Length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        return value;
    }
}
