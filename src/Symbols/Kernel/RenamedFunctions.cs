// Functions that people know by an older name: from books, posts and other people's backtraces.
// Each row was read in the kernel's history; the version is the first that has the new name.
namespace KTrace.Symbols.Kernel;

/// <summary>Successors of renamed kernel functions, tried in order.</summary>
public static class RenamedFunctions
{
    private static readonly Dictionary<string, string[]> Table = new(StringComparer.Ordinal)
    {
        // 5.11: MSI messages are composed by the vector domain (arch/x86/kernel/apic/vector.c); before, apic/msi.c did it.
        ["irq_msi_compose_msg"] = ["x86_vector_msi_compose_msg", "__irq_msi_compose_msg"],
        // 4.13: e1000e's net_device operations were renamed to tell them from e1000's.
        ["e1000_open"] = ["e1000e_open"],
        ["e1000_close"] = ["e1000e_close"],
        // 5.2 and 4.17: the 32-bit system-call path, and the per-architecture wrappers of system calls.
        ["do_syscall_32_irqs_on"] = ["do_int80_syscall_32"],
        ["do_fast_syscall_32"] = ["do_SYSENTER_32"],
        // 6.5: __alloc_pages_nodemask became __alloc_pages (5.13); 6.10 put profiling wrappers around the allocators.
        ["__alloc_pages_nodemask"] = ["__alloc_pages", "__alloc_pages_noprof"],
        ["__alloc_pages"] = ["__alloc_pages_noprof"],
        ["kmem_cache_alloc"] = ["kmem_cache_alloc_noprof"],
        ["kmem_cache_alloc_node"] = ["kmem_cache_alloc_node_noprof"],
        ["__kmalloc"] = ["__kmalloc_noprof"],
        ["vmalloc"] = ["vmalloc_noprof"],
        // 5.8 and 4.11: exception entry and fork.
        ["do_page_fault"] = ["exc_page_fault"],
        ["do_general_protection"] = ["exc_general_protection"],
        ["do_divide_error"] = ["exc_divide_error"],
        ["_do_fork"] = ["kernel_clone"],
        ["do_fork"] = ["_do_fork", "kernel_clone"],
        ["do_IRQ"] = ["common_interrupt", "__common_interrupt"],
        ["smp_apic_timer_interrupt"] = ["sysvec_apic_timer_interrupt", "__sysvec_apic_timer_interrupt"],
        ["apic_timer_interrupt"] = ["asm_sysvec_apic_timer_interrupt"],
        ["do_softirq_own_stack"] = ["__do_softirq", "handle_softirqs"],
        ["__do_softirq"] = ["handle_softirqs"],
        ["ret_from_fork"] = ["ret_from_fork_asm"],
    };

    /// <summary>
    /// Names to try when <paramref name="name"/> does not exist in a kernel, the likeliest first. Besides the table this knows the
    /// three generations of system-call entry names: <c>sys_x</c>/<c>SyS_x</c> (to 4.16), <c>__x64_sys_x</c> and <c>__ia32_sys_x</c> (since 4.17).
    /// </summary>
    public static IEnumerable<string> SuccessorsOf(string name)
    {
        if (Table.TryGetValue(name, out var successors))
        {
            foreach (var successor in successors)
            {
                yield return successor;
            }
        }

        foreach (var prefix in (string[])["sys_", "SyS_", "SYSC_", "__do_sys_", "__se_sys_"])
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal))
            {
                var call = name[prefix.Length..];
                yield return "__x64_sys_" + call;
                yield return "__se_sys_" + call;
                yield return "__do_sys_" + call;
                yield return "__ia32_sys_" + call;
                yield return "sys_" + call;
            }
        }
    }
}
