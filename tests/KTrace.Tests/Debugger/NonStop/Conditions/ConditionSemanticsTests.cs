using KTrace.Debugger.Memory;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.NonStop.Trampolines;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>Compiled conditions say of a call what the evaluator says at a stop, on a real CPU over a real kernel's memory.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class ConditionSemanticsTests(ITestOutputHelper output)
{
    private const string Loop = "while true; do read line < /proc/uptime; done";

    /// <summary>Over vfs_read(struct file *file, char *buf, size_t count, loff_t *pos), of a process that reads /proc/uptime.</summary>
    private static readonly string[] Conditions =
    [
        "count == 1", "count != 0", "count > 0", "count < 0", "(int)count >= -1", "(long)count > -1", "count > -1", "count - 2 < 0", "(int)count - 2 < 0", "count + 1 == 2 && count * 3 == 3",
        "count / 0 == 1", "count % 2 == 1", "(long)count / -1 == -1", "-7 / 2 == -3 && (int)count", "(unsigned char)(count + 255) == 0", "(short)(count + 0x7fff) < 0", "(bool)(count << 40)",
        "count << 63", "(int)count << 31 < 0", "count << $cpu == 1", "1 << (count + 62)", "~count == -2", "-count < count", "!count", "!!count == count", "(char)0xff < 0", "'a' == 97",
        "file && buf && pos", "file == 0", "file != NULL", "file > (struct file *)0", "(unsigned long)file >> 47 == 0x1ffff", "file->f_mode & 1", "file->f_inode->i_ino", "file->f_inode->i_mode & 0xf000",
        "file->f_inode->i_sb->s_magic == 0x9fa0", "file->f_path.dentry->d_name.name == \"uptime\"", "file->f_path.dentry->d_name.name != \"uptime\"", "file->f_path.dentry->d_iname == \"uptime\"",
        "file->f_path.dentry->d_iname == \"uptim\"", "file->f_path.dentry->d_iname != \"uptimes\"", "file->f_path.dentry->d_name.len == 6", "file->f_path.dentry->d_parent->d_name.name == \"/\"",
        "file.f_inode == file->f_path.dentry->d_inode", "&file->f_mode == (char *)file + sizeof(int)", "(char *)&file->f_inode - (char *)file == offsetof(struct file, f_inode)",
        "container_of(&file->f_inode, struct file, f_inode) == file", "file[0].f_inode == file->f_inode", "(file + 1) - file == 1", "file->f_op == &proc_reg_file_ops", "file->f_op->llseek == proc_reg_llseek",
        "IS_ERR(file)", "IS_ERR_OR_NULL(file)", "IS_ERR((void *)-5)", "PTR_ERR((void *)-5) == -5", "ntohs((unsigned short)(count + 0xff)) == 1", "ntohl(count) == 0x1000000",
        "current->pid > 1", "current->pid == 1", "current->tgid == current->pid", "current->comm == \"init\"", "current->comm == \"sh\"", "current->comm != \"swapper/0\"", "current->mm->pgd", "current->mm->mm_users.counter > 0",
        "current->group_leader == current", "current->parent->pid == 0", "current->real_parent->comm == \"swapper/0\"", "current->flags & 0x200000", "current->sched_reset_on_fork", "current->in_execve == 0", "current->mm == init_task.mm",
        "current->cred->uid.val == 0", "current->nsproxy->pid_ns_for_children->level == 0", "current->files->fdt->fd[0]", "current->files->fd_array[0] == current->files->fdt->fd[0]", "init_task.comm == \"swapper\"", "init_task.comm == \"swapper/0\"",
        "init_task.pid == 0", "jiffies > 4294000000", "nr_cpu_ids == 1", "current_task == current", "this_cpu(current_task) == current", "$cpu == 0", "$cpu == 1", "$percpu", "system_state == SYSTEM_RUNNING",
        "system_state == SYSTEM_BOOTING", "linux_banner == \"Linux\"", "saved_command_line[0] == 'c'", "ARRAY_SIZE(init_task.comm) == 16", "sizeof(struct file) > 100", "$rdi == (unsigned long)file", "$rsp == $sp && $rsp",
        "*(unsigned long *)$rsp == $pc", "*(unsigned long *)$rsp > 0xffffffff80000000", "$edx == count", "$r15 || $r14 || 1", "*buf || 1", "*(char *)buf >= 0 || 1", "*pos >= 0", "pos == 0 || *pos", "*(char *)0", "((struct file *)0)->f_inode",
        "((struct file *)-14)->f_inode", "&((struct file *)0)->f_inode", "*(char *)0x8000000000000000", "*(long *)0xffffe8ffffffff00", "*(long *)0xffffffffffffffff", "0 && *(char *)0", "1 || *(char *)0", "1 ? count : *(char *)0",
        "count ? 0 : 1", "(count ? 5 : 6u) == 5", "count == 1 ? current->pid : 0", "(count ? -1 : 0u) > 0", "count & 1 | 2 ^ 3", "count > 0 == 1", "(count > 0) + (count > 0) == 2",
        "(count && file) + 1 == 2", "((count + 1) * (count + 2)) - ((count + 3) * (count + 4)) < 0", "*(unsigned char *)&linux_banner == 76", "*(unsigned short *)&linux_banner == 0x694c", "((char *)&linux_banner)[3] == 'u'",
        "((char *)linux_banner)[count] == 'i'", "(&init_task)->comm[count + 1] == 'a'", "init_task.tasks.next != &init_task.tasks", "*(unsigned long *)(((unsigned long)$rsp & ~0xfffUL) + 0x800)",
    ];

    /// <summary>The same function on i386, where the fourth parameter lies on the stack and nothing is wider than 32 bits.</summary>
    private static readonly string[] Conditions32 =
    [
        "count == 1", "count > -1", "(int)count > -1", "count / 0 == 1", "(int)count / -1 == -1", "count << 31", "1 << (count + 31)", "~count == -2", "(short)(count + 0x7fff) < 0", "file && buf && pos", "file->f_mode & 1",
        "file->f_inode->i_ino", "file->f_path.dentry->d_name.name == \"uptime\"", "file->f_path.dentry->d_iname == \"uptime\"", "&file->f_mode != 0", "(file + 1) - file == 1", "IS_ERR(file)", "IS_ERR((void *)-5)", "ntohl(count) == 0x1000000",
        "current->pid > 1", "current->pid == 1", "current->comm == \"sh\"", "current->comm == \"init\"", "current->mm->pgd", "current->parent->pid == 0", "init_task.comm == \"swapper\"", "system_state == SYSTEM_RUNNING",
        "linux_banner[0] == 'L'", "$eax == (unsigned long)file", "*(unsigned long *)$esp == $pc", "*(unsigned long *)$esp > 0xc0000000", "*(unsigned long *)($esp + 4) == (unsigned long)pos", "*buf || 1",
        "*(char *)0", "((struct file *)0)->f_inode", "((struct file *)-14)->f_inode", "*(char *)0x80000000", "*(long *)0xffffffff", "*(int *)0xfffffffe", "*(char *)0xc0000000 || 1", "*(unsigned *)0xc0000ffe || 1", "*(char *)0xf0000000", "0 && *(char *)0",
        "1 || *(char *)0", "count ? 0 : 1", "(count ? 5 : 6u) == 5", "(count ? -1 : 0u) > 0", "*(unsigned short *)&linux_banner == 0x694c", "((char *)linux_banner)[count] == 'i'", "count * 0x10001 % 7 == 4", "-7 / 2 == -3", "(unsigned)-7 / 2 == 0x7ffffffc",
    ];

    private static readonly ulong[] Edges = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue, ulong.MaxValue - 21];

    [Fact]
    public async Task The_guest_s_own_answers_are_the_evaluator_s()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, Loop);
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        Assert.Equal(PagingKind.FourLevels, bench.Paging);
        await CompareAsync(bench, Conditions, 1, 0);
    }

    /// <summary>Page tables of five levels and their kernel half alone (pti), pages of 1 GiB, and a kernel that lies elsewhere.</summary>
    [Fact]
    public async Task They_are_so_under_five_levels_of_page_tables_and_a_displacement()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, Loop, append: "pti=on", cpu: "max");
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        Assert.Equal(PagingKind.FiveLevels, bench.Paging);
        await CompareAsync(bench, Conditions, 1, 0);
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:tiny32")]
    public async Task They_are_so_on_i386(string kernel)
    {
        await using var guest = await TracedGuest.BootAsync(OracleKernels.Open(kernel), Loop);
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        output.WriteLine(bench.Paging.ToString());
        await CompareAsync(bench, Conditions32, 1, 0);
    }

    [Fact]
    public async Task Conditions_without_end_over_any_numbers_have_the_evaluator_s_answers()
    {
        const int conditions = 400, rounds = 5;
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, Loop);
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        var bytes = new byte[32 << 10];
        new Random(7).NextBytes(bytes);
        Assert.True(guest.Target.Memory.Ram!.TryWrite(guest.Memory.Layout.PhysicalRing, bytes));
        await bench.SetAsync("r8", guest.Memory.Layout.Ring);
        var random = new RandomConditions(20261121);
        await CompareAsync(bench, [.. AcrossPages(guest, bytes), .. Enumerable.Range(0, conditions).Select(_ => random.Next())], rounds, conditions / 2);
    }

    /// <summary>A stop would ask the device; code in the guest leaves it alone.</summary>
    [Fact]
    public async Task What_is_no_memory_is_not_touched()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, Loop);
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        string[] nowhere =
        [
            "*(unsigned int *)0xffffffffff5fd020 || 1", // FIX_APIC_BASE: the local APIC's id
            "*(char *)0xffff8880000b8000 || 1", // VGA's text, in the direct map
            "*(char *)0xffff8880000f0000 || 1", // the BIOS
            "*(char *)0xffff8880fee00000 || 1", "*(char *)0xffff888000000000 + 0 * *(char *)0xffffc8ffffffffff", "*(long *)0xffffffffff5fcfff || 1", "*(long *)0x7fffffffffff || 1", "*(char *)0xffff800000000000 || 1",
        ];
        foreach (var condition in nowhere)
        {
            Assert.Equal(Answer.Unknown, await bench.RunAsync(bench.Compile(condition).Made!.Value));
        }

        Assert.Equal(Answer.Yes, await bench.RunAsync(bench.Compile("*(char *)0xffff888000000000 || 1").Made!.Value));
    }

    /// <summary>Text and numbers that lie on two pages, the second of which may not be there.</summary>
    private static IEnumerable<string> AcrossPages(TracedGuest guest, byte[] bytes)
    {
        var (ram, layout) = (guest.Target.Memory.Ram!, guest.Memory.Layout);
        Assert.True(ram.TryWrite(layout.PhysicalRing + 8192 - 4, "crossing\0"u8) && ram.TryWrite(layout.PhysicalRing + 12288 - 4, "eth\0abcd"u8));
        Assert.True(ram.TryWrite(layout.PhysicalRing + (ulong)layout.RingSize - 8, "ip\0xlast"u8));
        foreach (var (offset, texts) in new[] { (8192 - 4, (string[])["crossing", "crossin", "crossings", "cros"]), (12288 - 4, ["eth", "eth0", "ethabcd"]), ((2 * layout.RingSize) - 8, ["ip", "ip0", "ipxlast0"]), ((2 * layout.RingSize) - 4, ["last", "las", "lasting"]) })
        {
            foreach (var text in texts)
            {
                yield return $"(char *)($r8 + {offset}) == \"{text}\"";
                yield return $"(char *)($r8 + {offset}) != \"{text}\"";
            }

            yield return $"*(long *)($r8 + {offset}) == 0x{BitConverter.ToInt64("crossing"u8):x}";
            yield return $"*(int *)($r8 + {offset}) == 0x{BitConverter.ToInt32("last"u8):x}";
            yield return $"*(int *)($r8 + {offset + 1}) || 1";
        }

        yield return $"*(long *)($r8 + 4091) == {BitConverter.ToInt64(bytes, 4091)}l";
        yield return $"*(short *)($r8 + 4095) == {BitConverter.ToInt16(bytes, 4095)}";
    }

    private async Task CompareAsync(ConditionBench bench, IReadOnlyList<string> conditions, int rounds, int maximumRefused)
    {
        var made = conditions.Select(c => (Condition: c, Answer: bench.Compile(c))).ToList();
        var refused = made.Where(m => m.Answer.Made is null).Select(m => $"{m.Condition}: {m.Answer.WhyNot}").ToList();
        made.RemoveAll(m => m.Answer.Made is null);
        var sets = new List<(string Register, ulong Value)[]>();
        var random = new Random(11);
        for (var round = 1; round < rounds; round++)
        {
            sets.Add([.. new[] { "rdi", "rdx", "rcx", "r9", "rsi", "r15" }.Select(r => (r, random.Next(3) == 0 ? (ulong)random.NextInt64() : Edges[random.Next(Edges.Length)]))]);
        }

        // All stops' answers first: the guest runs a little at each of its own.
        var expected = new List<Answer[]>();
        for (var round = 0; round < rounds; round++)
        {
            await EnterAsync(round);
            var answers = new Answer[made.Count];
            for (var i = 0; i < answers.Length; i++)
            {
                answers[i] = await bench.EvaluateAsync(made[i].Condition);
            }

            expected.Add(answers);
        }

        var wrong = new List<string>();
        for (var round = rounds - 1; round >= 0; round--)
        {
            await EnterAsync(round);
            for (var i = 0; i < made.Count; i++)
            {
                var actual = await bench.RunAsync(made[i].Answer.Made!.Value);
                if (actual != expected[round][i])
                {
                    wrong.Add($"{made[i].Condition}: {actual}, not {expected[round][i]} in round {round}");
                }
            }
        }

        output.WriteLine($"{made.Count} asked {rounds} times ({string.Join(", ", expected.SelectMany(e => e).CountBy(a => a))}), {refused.Count} refused; {bench.CodeSize} bytes of code");
        refused.ForEach(output.WriteLine);
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.True(refused.Count <= maximumRefused, string.Join('\n', refused));

        async Task EnterAsync(int round)
        {
            foreach (var (register, value) in round == 0 ? bench.Found : sets[round - 1])
            {
                await bench.SetAsync(register, value);
            }
        }
    }
}
