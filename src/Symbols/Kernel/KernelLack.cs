namespace KTrace.Symbols.Kernel;

/// <summary>Something that a kernel's files do not have. Said once, by name, with its price.</summary>
/// <param name="What">What is missing: <c>no DWARF</c>.</param>
/// <param name="Cost">What answers are poorer for it.</param>
/// <param name="Remedy">What a person can do, or null.</param>
public sealed record KernelLack(string What, string Cost, string? Remedy)
{
    public override string ToString() => Remedy is null ? $"{What}: {Cost}" : $"{What}: {Cost} ({Remedy})";
}
